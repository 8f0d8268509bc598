"""A small model of random weights, and engines on it; modules put others in their place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gguf
import pytest

from tests import tiny_llama
from vllm_swift_engine import Engine


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    tiny_llama.write_gguf(path, tiny_llama.random_weights(), gguf.GGMLQuantizationType.Q4_0)
    return path


@pytest.fixture(params=["auto", "reference"])
def engine(
    model: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Engine]:
    """On the module's model, once with every kind of kernels."""
    monkeypatch.setenv("VLLM_SWIFT_KERNELS", request.param)
    with Engine(model, device="cpu", share=False) as engine:
        yield engine
