"""GGUF files in every format we read: our logits are mlx-lm's on the dequantized weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest

from benchmarks.mlx_folder import convert
from tests.parity.checkpoints import Shape, write_gguf
from tests.parity.engines import mlx_logits, opened, our_logits
from tests.parity.test_architectures import (
    BFLOAT16,
    CACHE_16_BIT,
    INT8,
    KERNELS,
    TOKENS,
    assert_close,
)

FORMATS = (
    "F32",
    "F16",
    "BF16",
    "Q4_0",
    "Q4_1",
    "Q5_0",
    "Q5_1",
    "Q8_0",
    "Q3_K",
    "Q4_K",
    "Q5_K",
    "Q6_K",
)
SHAPES = {
    "untied": Shape(),
    "tied": Shape(tie_word_embeddings=True, num_key_value_heads=1),
}


def fitting(shape: Shape, name: str) -> Shape:
    """With whole blocks of 256 for K-quants."""
    if not name.endswith("_K"):
        return shape
    return replace(shape, hidden_size=256, intermediate_size=512, head_dim=64)


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FORMATS)
def test_formats(name: str, shape: str, kernels: str, tmp_path: Path) -> None:
    kind = gguf.GGMLQuantizationType[name]
    path = write_gguf(tmp_path / "model.gguf", fitting(SHAPES[shape], name), kind)
    oracle = convert(path, tmp_path / "mlx", tokenizer=False)
    with opened(path, kernels) as engine:
        ours = our_logits(engine, TOKENS)
    activations = INT8 if name.startswith("Q") else BFLOAT16 if name == "BF16" else CACHE_16_BIT
    assert_close(ours, mlx_logits(oracle, TOKENS), kernels, activations)


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("name", ["Q5_0", "Q3_K", "Q4_K", "Q5_K", "Q6_K"])
def test_scales_and_biases_may_leave_the_range_of_float16(
    name: str, kernels: str, tmp_path: Path
) -> None:
    kind = gguf.GGMLQuantizationType[name]
    shape = fitting(SHAPES["tied"], name)
    size = 2.0**19 if name == "Q5_0" else 2.0**23  # d itself is a float16
    path = write_gguf(tmp_path / "model.gguf", shape, kind, embedding_size=size)
    oracle = convert(path, tmp_path / "mlx", tokenizer=False)
    with opened(path, kernels) as engine:
        ours = our_logits(engine, TOKENS)
    assert_close(ours, mlx_logits(oracle, TOKENS), kernels, INT8)


def test_llama_3_rope_factors_come_as_a_tensor(tmp_path: Path) -> None:
    """llama.cpp's converter writes Llama 3's rope scaling as `rope_freqs.weight`."""
    path = write_gguf(tmp_path / "plain.gguf", Shape(), gguf.GGMLQuantizationType.F32)
    with opened(path, "reference") as engine:
        plain = our_logits(engine, TOKENS)
    factors = np.full(Shape().head_dim // 2, 4, np.float32)
    scaled = write_gguf(
        tmp_path / "scaled.gguf", Shape(), gguf.GGMLQuantizationType.F32, rope_freqs=factors
    )
    oracle = convert(scaled, tmp_path / "mlx", tokenizer=False)
    config = oracle / "config.json"
    linear = '{"rope_scaling": {"type": "linear", "factor": 4.0}, '
    config.write_text(config.read_text().replace("{", linear, 1))
    with opened(scaled, "reference") as engine:
        ours = our_logits(engine, TOKENS)
    assert_close(ours, mlx_logits(oracle, TOKENS), "reference")
    assert np.abs(ours - plain).max() > 1, "the factors changed nothing"
