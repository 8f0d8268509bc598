"""Our engine with chosen kernels or on a GPU, and mlx-lm's logits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.utils import load_model

from vllm_swift_engine import Engine

Array = np.ndarray[Any, np.dtype[np.float32]]

needs_gpu = pytest.mark.skipif(not mx.is_available(mx.gpu), reason="MLX finds no GPU here")


@contextmanager
def opened(model: Path, kernels: str) -> Iterator[Engine]:
    """An engine of its own on the CPU whose model was loaded with VLLM_SWIFT_KERNELS=kernels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_SWIFT_KERNELS", kernels)
        engine = Engine(model, device="cpu", share=False)
    with engine:
        yield engine


def our_logits(engine: Engine, tokens: Sequence[int]) -> Array:
    """[len(tokens), vocabulary]"""
    return np.array(engine.logits(tokens), np.float32)


def mlx_logits(folder: Path, tokens: Sequence[int]) -> Array:
    """What mlx-lm computes with the folder's weights when everything else is float32."""
    model, _ = load_model(folder)
    model.set_dtype(mx.float32)
    return np.array(model(mx.array([list(tokens)]))[0], np.float32)
