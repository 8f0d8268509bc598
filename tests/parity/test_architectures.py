"""Every shape of Llama that checkpoints come in: our logits are mlx-lm's."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.utils import load_model

from tests.parity.checkpoints import Shape, random_weights, write_folder
from tests.parity.engines import Array, mlx_logits, opened, our_logits
from tests.parity.float_model import FloatLlama
from vllm_swift_engine import Engine
from vllm_swift_engine.errors import (
    UnsupportedArchitectureError,
    UnsupportedError,
    UnsupportedQuantizationError,
    VLLMSwiftError,
)

TOKENS = [int(token) for token in np.random.default_rng(1).integers(1, 320, 40)]

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}

SHAPES = {
    "heads share nothing": Shape(num_key_value_heads=4),
    "two heads share": Shape(),
    "all heads share": Shape(num_key_value_heads=1),
    "three heads share, as in SmolLM2": Shape(num_attention_heads=9, num_key_value_heads=3),
    "tied embeddings": Shape(tie_word_embeddings=True),
    "heads narrower than hidden / heads": Shape(head_dim=16),
    "heads wider than hidden / heads": Shape(head_dim=64),
    "heads of 80": Shape(head_dim=80),
    "heads of 128": Shape(head_dim=128),
    "a vocabulary that is no multiple of 16": Shape(vocab_size=333),
    "llama 3 rope scaling": Shape(rope_theta=500000.0, more={"rope_scaling": LLAMA3_ROPE}),
    "linear rope scaling": Shape(more={"rope_scaling": {"type": "linear", "factor": 4.0}}),
    "Mistral without a window": Shape(model_type="mistral", more={"sliding_window": None}),
}

STORAGE: dict[str, tuple[mx.Dtype, dict[str, int] | None]] = {
    "float32": (mx.float32, None),
    "float16": (mx.float16, None),
    "bfloat16": (mx.bfloat16, None),
    "2 bits, groups of 32": (mx.float32, {"bits": 2, "group_size": 32}),
    "3 bits, groups of 64": (mx.float16, {"bits": 3, "group_size": 64}),
    "4 bits, groups of 32": (mx.float16, {"bits": 4, "group_size": 32}),
    "4 bits, groups of 64": (mx.bfloat16, {"bits": 4, "group_size": 64}),
    "5 bits, groups of 32": (mx.bfloat16, {"bits": 5, "group_size": 32}),
    "6 bits, groups of 64": (mx.float16, {"bits": 6, "group_size": 64}),
    "8 bits, groups of 32": (mx.bfloat16, {"bits": 8, "group_size": 32}),
    "8 bits, groups of 64": (mx.float32, {"bits": 8, "group_size": 64}),
}

# Root mean square difference of the logits, in their standard deviations, that comes from another
# order of summation; from the kernels' 16-bit KV cache; and from bfloat16 or int8 activations
# besides.
SUMMATION, CACHE_16_BIT, BFLOAT16, INT8 = 1e-4, 1e-3, 0.02, 0.06
KERNELS = ("reference", "auto")


def assert_close(
    ours: Array, theirs: Array, kernels: str, activations: float = CACHE_16_BIT
) -> None:
    limit = SUMMATION if kernels == "reference" else activations
    difference = np.sqrt(np.mean(np.square(ours - theirs))) / theirs.std()
    assert difference <= limit, f"off by {difference:.5f} standard deviations"


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name: str, kernels: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, SHAPES[name])
    with opened(folder, kernels) as engine:
        ours = our_logits(engine, TOKENS)
    assert_close(ours, mlx_logits(folder, TOKENS), kernels)


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("name", STORAGE)
def test_weight_formats(name: str, kernels: str, tmp_path: Path) -> None:
    dtype, quantization = STORAGE[name]
    folder = write_folder(tmp_path, Shape(), dtype, quantization)
    with opened(folder, kernels) as engine:
        ours = our_logits(engine, TOKENS)
    activations = INT8 if quantization else BFLOAT16 if dtype == mx.bfloat16 else CACHE_16_BIT
    assert_close(ours, mlx_logits(folder, TOKENS), kernels, activations)


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_weights_take_as_much_memory_as_in_their_file(bits: int, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, Shape(), mx.float16, {"bits": bits, "group_size": 32})
    tensors = mx.load(str(folder / "model.safetensors"))
    assert isinstance(tensors, dict)
    stored = sum(tensor.nbytes for tensor in tensors.values() if tensor.ndim == 2)
    with opened(folder, "auto") as engine:
        assert engine.info.weight_bytes == stored


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("window", [None, 1, 20, 64, 100])
def test_long_prompts_with_and_without_a_sliding_window(
    window: int | None, kernels: str, tmp_path: Path
) -> None:
    """mlx-lm's llama has no model in which every layer slides, so numpy is the oracle."""
    tokens = TOKENS * 5
    shape = Shape(model_type="mistral", more={"sliding_window": window})
    folder = write_folder(tmp_path, shape)
    model, _ = load_model(folder)
    with opened(folder, kernels) as engine:
        ours = our_logits(engine, tokens)
    assert_close(ours, FloatLlama(model).logits(tokens), kernels)


@pytest.mark.parametrize("kernels", KERNELS)
def test_layers_may_be_quantized_differently(kernels: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, Shape(), mx.float32, {"bits": 4, "group_size": 64})
    layer = "model.layers.1.mlp.down_proj"
    weights = dict(mx.load(str(folder / "model.safetensors")))
    parts = mx.quantize(mx.array(random_weights(Shape())[f"{layer}.weight"]), bits=8, group_size=32)
    weights |= {
        f"{layer}.{part}": value
        for part, value in zip(("weight", "scales", "biases"), parts, strict=True)
    }
    mx.eval(weights)
    mx.save_safetensors(str(folder / "model.safetensors"), weights)
    config = json.loads((folder / "config.json").read_text())
    config["quantization"][layer] = {"bits": 8, "group_size": 32}
    (folder / "config.json").write_text(json.dumps(config))
    with opened(folder, kernels) as engine:
        ours = our_logits(engine, TOKENS)
    assert_close(ours, mlx_logits(folder, TOKENS), kernels, INT8)


UNSUPPORTED = {
    "an architecture": ({"model_type": "mamba"}, UnsupportedArchitectureError, "mamba"),
    "biases in attention": ({"attention_bias": True}, UnsupportedError, "attention_bias"),
    "biases in the MLP": ({"mlp_bias": True}, UnsupportedError, "mlp_bias"),
    "an activation": ({"hidden_act": "gelu"}, UnsupportedError, "gelu"),
    "a rope scaling": (
        {"rope_scaling": {"rope_type": "yarn", "factor": 2.0}},
        UnsupportedError,
        "yarn",
    ),
    "a quantization method": (
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        UnsupportedQuantizationError,
        "gptq",
    ),
    "a quantization mode": (
        {"quantization": {"mode": "mxfp4", "bits": 4, "group_size": 32}},
        UnsupportedQuantizationError,
        "mxfp4",
    ),
    "a number of bits": (
        {"quantization": {"bits": 7, "group_size": 64}},
        UnsupportedQuantizationError,
        "7 bits",
    ),
    "layers of two kinds": (
        {"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 8},
        UnsupportedError,
        "layer_types",
    ),
    "rotation of a part of each head": (
        {"partial_rotary_factor": 0.5},
        UnsupportedError,
        "partial_rotary_factor",
    ),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_is_not_supported_is_refused_by_name(name: str, tmp_path: Path) -> None:
    more, error, culprit = UNSUPPORTED[name]
    folder = write_folder(tmp_path, replace(Shape(), more=more))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **more}))
    with pytest.raises(error, match=re.escape(culprit)) as raised:
        Engine(folder, device="cpu")
    assert isinstance(raised.value, VLLMSwiftError)
