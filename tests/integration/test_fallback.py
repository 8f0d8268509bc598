"""A model that the kernels cannot run still runs, and the log says that it is slow, and why."""

from __future__ import annotations

import json
from pathlib import Path

import mlx.core as mx
import pytest

from tests.tiny_llama import CONFIG, random_weights, write_folder
from vllm_swift_engine import Engine, SamplingParams

GREEDY = SamplingParams(temperature=0.0, max_tokens=4)


def _folder(tmp_path: Path, head_dim: int) -> Path:
    """The tiny Llama, its two heads of 32 cut into more heads of `head_dim`."""
    write_folder(tmp_path, {name: mx.array(values) for name, values in random_weights().items()})
    heads = {"num_attention_heads": 64 // head_dim, "num_key_value_heads": 32 // head_dim}
    config = json.dumps({**CONFIG, **heads, "head_dim": head_dim})
    (tmp_path / "config.json").write_text(config)
    return tmp_path


def test_a_shape_without_kernels_runs_on_the_reference_and_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Engine(_folder(tmp_path, head_dim=4), device="cpu") as engine:
        assert engine.info.kernels == "reference"
        assert "heads of 4" in engine.info.kernels_note
        assert len(engine.generate([1, 2, 3], GREEDY).outputs[0].token_ids) <= 4
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "heads of 4" in caplog.text


def test_a_shape_with_kernels_is_not_worth_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Engine(_folder(tmp_path, head_dim=32), device="cpu") as engine:
        assert engine.info.kernels != "reference"
        assert engine.info.kernels_note == ""
    assert not caplog.records
