"""Small random Llamas: as folders of safetensors, in float or quantized by MLX, and as GGUF."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import mlx.core as mx
import numpy as np
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers.convert_slow_tokenizer import bytes_to_unicode

Array = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Shape:
    """Hyperparameters under their names in config.json."""

    hidden_size: int = 128
    intermediate_size: int = 192
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 32
    vocab_size: int = 320
    tie_word_embeddings: bool = False
    model_type: str = "llama"
    rope_theta: float = 10000.0
    more: dict[str, Any] = field(default_factory=dict)

    def config(self) -> dict[str, Any]:
        keys = {key: value for key, value in vars(self).items() if key != "more"}
        fixed = {"rms_norm_eps": 1e-5, "max_position_embeddings": 512, "hidden_act": "silu"}
        return {**keys, **fixed, "attention_bias": False, "eos_token_id": 0, **self.more}


# Wide enough that a step's intermediate results are most of what a budget has to hold.
WIDE = Shape(
    hidden_size=256,
    intermediate_size=768,
    num_attention_heads=8,
    num_key_value_heads=4,
    more={"max_position_embeddings": 1024},
)


def random_weights(shape: Shape, seed: int = 0) -> dict[str, Array]:
    """Weights by checkpoint name, of a size that keeps attention and logits far from uniform."""
    generator = np.random.default_rng(seed)
    hidden, head = shape.hidden_size, shape.head_dim

    def matrix(rows: int, columns: int) -> Array:
        scale = 2 / np.sqrt(columns)
        return (generator.standard_normal((rows, columns)) * scale).astype(np.float32)

    def norm() -> Array:
        return (1 + 0.2 * generator.standard_normal(hidden)).astype(np.float32)

    weights = {"model.embed_tokens.weight": matrix(shape.vocab_size, hidden)}
    for layer in range(shape.num_hidden_layers):
        parts = {
            "input_layernorm": norm(),
            "self_attn.q_proj": matrix(shape.num_attention_heads * head, hidden),
            "self_attn.k_proj": matrix(shape.num_key_value_heads * head, hidden),
            "self_attn.v_proj": matrix(shape.num_key_value_heads * head, hidden),
            "self_attn.o_proj": matrix(hidden, shape.num_attention_heads * head),
            "post_attention_layernorm": norm(),
            "mlp.gate_proj": matrix(shape.intermediate_size, hidden),
            "mlp.up_proj": matrix(shape.intermediate_size, hidden),
            "mlp.down_proj": matrix(hidden, shape.intermediate_size),
        }
        weights |= {f"model.layers.{layer}.{name}.weight": w for name, w in parts.items()}
    weights["model.norm.weight"] = norm()
    if not shape.tie_word_embeddings:
        weights["lm_head.weight"] = matrix(shape.vocab_size, hidden)
    return weights


def write_folder(
    folder: Path,
    shape: Shape,
    dtype: mx.Dtype = mx.float32,
    quantization: dict[str, int] | None = None,
) -> Path:
    """config.json, model.safetensors and tokenizer.json, as mlx-lm and Hugging Face write them."""
    config = shape.config()
    tensors: dict[str, mx.array] = {}
    for name, weight in random_weights(shape).items():
        array = mx.array(weight).astype(dtype)
        if quantization is None or weight.ndim == 1:
            tensors[name] = array
            continue
        parts = zip(("weight", "scales", "biases"), mx.quantize(array, **quantization), strict=True)
        tensors |= {f"{name.removesuffix('.weight')}.{part}": value for part, value in parts}
    if quantization is not None:
        config["quantization"] = quantization
    folder.mkdir(parents=True, exist_ok=True)
    mx.save_safetensors(str(folder / "model.safetensors"), tensors, metadata={"format": "mlx"})
    (folder / "config.json").write_text(json.dumps(config))
    tokens, merges = _vocabulary(shape.vocab_size)
    tokenizer = Tokenizer(BPE({token: index for index, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def to_bfloat16(folder: Path) -> None:
    """Puts bfloat16 weights in place of the quantized ones in a folder that MLX wrote."""
    config = json.loads((folder / "config.json").read_text())
    quantization = config.pop("quantization")
    tensors = mx.load(str(folder / "model.safetensors"))
    assert isinstance(tensors, dict)
    floats: dict[str, mx.array] = {}
    for name, value in tensors.items():
        layer, part = name.rsplit(".", 1)
        if part in ("scales", "biases"):
            continue
        if f"{layer}.scales" in tensors:
            groups = quantization.get(layer, quantization)
            value = mx.dequantize(
                value,
                tensors[f"{layer}.scales"],
                tensors[f"{layer}.biases"],
                group_size=groups["group_size"],
                bits=groups["bits"],
            )
        floats[name] = value.astype(mx.bfloat16)
    mx.eval(floats)
    mx.save_safetensors(str(folder / "model.safetensors"), floats, metadata={"format": "mlx"})
    (folder / "config.json").write_text(json.dumps(config))


def write_gguf(
    path: Path,
    shape: Shape,
    kind: gguf.GGMLQuantizationType,
    rope_freqs: Array | None = None,
    embedding_size: float = 1,
) -> Path:
    """A GGUF of the llama architecture with its matrices in `kind`, as llama.cpp's converter does.

    Embeddings are in `kind` too, and times `embedding_size`. q and k have the row order that
    llama.cpp's rotary embedding wants.
    """
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, shape.num_hidden_layers)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(shape.num_hidden_layers)
    writer.add_context_length(512)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_feed_forward_length(shape.intermediate_size)
    writer.add_head_count(shape.num_attention_heads)
    writer.add_head_count_kv(shape.num_key_value_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(shape.vocab_size)
    _add_tokenizer(writer, shape.vocab_size)
    for name, weight in random_weights(shape).items():
        heads = {"q_proj": shape.num_attention_heads, "k_proj": shape.num_key_value_heads}
        if (count := heads.get(name.split(".")[-2])) is not None:
            weight = _interleaved(weight, count)
        if name == "model.embed_tokens.weight":
            weight = weight * np.float32(embedding_size)
        stored = gguf.GGMLQuantizationType.F32 if weight.ndim == 1 else kind
        mapped = names.get_name(name, try_suffixes=(".weight",))
        writer.add_tensor(mapped, _stored(weight, stored), raw_dtype=stored)
    if rope_freqs is not None:
        writer.add_tensor("rope_freqs.weight", rope_freqs)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


# Bytes of a block, and where its d and its dmin are.
_K_BLOCKS = {
    "Q3_K": (110, 108, None),
    "Q4_K": (144, 0, 2),
    "Q5_K": (176, 0, 2),
    "Q6_K": (210, 208, None),
}


def _stored(weight: Array, kind: gguf.GGMLQuantizationType) -> np.ndarray[Any, Any]:
    """The weight in `kind`; for K-quants, which gguf only reads, random blocks of its deviation."""
    if kind.name not in _K_BLOCKS:
        return gguf.quantize(weight, kind)
    size, d_at, dmin_at = _K_BLOCKS[kind.name]
    rows, columns = weight.shape
    generator = np.random.default_rng(weight.size)
    blocks = generator.integers(0, 256, (rows, columns // 256, size), np.uint8)

    def with_scales(d: float, dmin: float) -> Array:
        for at, value in ((d_at, d), (dmin_at, dmin)):
            if at is not None:
                blocks[..., at : at + 2] = np.array([value], np.float16).view(np.uint8)
        return gguf.dequantize(blocks.reshape(rows, -1), kind)

    d, dmin = 1.0, 0.0
    if dmin_at is not None:
        dmin = -with_scales(1, 0).mean() / with_scales(0, 1).mean()
    factor = weight.std() / with_scales(d, dmin).std()
    with_scales(d * factor, dmin * factor)
    return blocks.reshape(rows, -1)


def _interleaved(weight: Array, heads: int) -> Array:
    """Rows (i, i + half) of each head side by side."""
    halves = weight.reshape(heads, 2, -1, weight.shape[1])
    result: Array = halves.swapaxes(1, 2).reshape(weight.shape)
    return result


def _add_tokenizer(writer: gguf.GGUFWriter, size: int) -> None:
    tokens, merges = _vocabulary(size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * size)
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(0)


def _vocabulary(size: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Tokens and merges of a byte-level BPE: the 256 bytes, then pairs of the first of them."""
    letters = list(bytes_to_unicode().values())
    merges = [(first, second) for first in letters for second in letters][: size - len(letters)]
    return [*letters, *(first + second for first, second in merges)], merges
