"""A Llama of two layers with random weights, written as a GGUF file or as a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import mlx.core as mx
import numpy as np
import tokenizers
from tokenizers import AddedToken, models, pre_tokenizers

Weights = dict[str, "np.ndarray[Any, np.dtype[np.float32]]"]

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, MLP, LAYERS = 64, 2, 1, 32, 96, 2
END = "<|end|>"
TOKENS = [END, *sorted(pre_tokenizers.ByteLevel.alphabet()), "he", "ll"]
MERGES = [("h", "e"), ("l", "l")]

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "intermediate_size": MLP,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "head_dim": HEAD_DIM,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10_000.0,
    "max_position_embeddings": 128,
    "vocab_size": len(TOKENS),
    "tie_word_embeddings": True,
    "attention_bias": False,
    "mlp_bias": False,
    "bos_token_id": 0,
    "eos_token_id": 0,
}


def random_weights(seed: int = 0) -> Weights:
    """float32, by checkpoint names."""
    generator = np.random.default_rng(seed)
    matrices = {"model.embed_tokens": (len(TOKENS), HIDDEN)}
    norms = ["model.norm"]
    for layer in (f"model.layers.{index}" for index in range(LAYERS)):
        matrices[f"{layer}.self_attn.q_proj"] = (HEADS * HEAD_DIM, HIDDEN)
        matrices[f"{layer}.self_attn.k_proj"] = (KV_HEADS * HEAD_DIM, HIDDEN)
        matrices[f"{layer}.self_attn.v_proj"] = (KV_HEADS * HEAD_DIM, HIDDEN)
        matrices[f"{layer}.self_attn.o_proj"] = (HIDDEN, HEADS * HEAD_DIM)
        matrices[f"{layer}.mlp.gate_proj"] = (MLP, HIDDEN)
        matrices[f"{layer}.mlp.up_proj"] = (MLP, HIDDEN)
        matrices[f"{layer}.mlp.down_proj"] = (HIDDEN, MLP)
        norms += [f"{layer}.input_layernorm", f"{layer}.post_attention_layernorm"]
    weights = {
        f"{name}.weight": generator.normal(0, shape[1] ** -0.5, shape).astype(np.float32)
        for name, shape in matrices.items()
    }
    for name in norms:
        weights[f"{name}.weight"] = generator.normal(1, 0.1, HIDDEN).astype(np.float32)
    return weights


def gguf_name(name: str, layers: int = LAYERS) -> str:
    """What the gguf package calls a tensor of a checkpoint."""
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, layers)
    found = names.get_name(name, try_suffixes=(".weight", ".bias"))
    assert found is not None, name
    return found


def heads_of(name: str) -> int | None:
    """How many heads the rows of a tensor belong to, where llama.cpp reorders them."""
    if ".q_proj." in name:
        return HEADS
    return KV_HEADS if ".k_proj." in name else None


def gguf_rows(rows: int, heads: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The order in which llama.cpp's converter writes the rows of q and k."""
    return np.arange(rows).reshape(heads, 2, rows // heads // 2).swapaxes(1, 2).reshape(-1)


def write_gguf(path: Path, weights: Weights, kind: gguf.GGMLQuantizationType, **extra: Any) -> None:
    """Norms are float32, matrices of `kind`. `extra`: float, int, str and bool metadata."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONFIG["max_position_embeddings"])
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(CONFIG["rms_norm_eps"])
    writer.add_rope_freq_base(CONFIG["rope_theta"])
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(TOKENS)
    writer.add_token_types([gguf.TokenType.CONTROL] + [gguf.TokenType.NORMAL] * (len(TOKENS) - 1))
    writer.add_token_merges([" ".join(pair) for pair in MERGES])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    for key, value in extra.items():
        writer.add_key_value(key, value, gguf.GGUFValueType.get_type(value))
    for name, values in weights.items():
        heads = heads_of(name)
        if heads is not None:
            values = values[gguf_rows(len(values), heads)]
        stored = gguf.GGMLQuantizationType.F32 if values.ndim == 1 else kind
        writer.add_tensor(gguf_name(name), gguf.quants.quantize(values, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_folder(
    folder: Path, weights: dict[str, mx.array], quantization: dict[str, Any] | None = None
) -> None:
    """config.json, tokenizer.json and model.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    config = CONFIG if quantization is None else {**CONFIG, "quantization": quantization}
    (folder / "config.json").write_text(json.dumps(config))
    _tokenizer().save(str(folder / "tokenizer.json"))
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})


def quantized(weights: Weights, bits: int, group_size: int) -> dict[str, mx.array]:
    """Matrices in MLX's affine form with float16 scales, norms in float16."""
    result: dict[str, mx.array] = {}
    for name, values in weights.items():
        array = mx.array(values).astype(mx.float16)
        if array.ndim == 1:
            result[name] = array
            continue
        parts = mx.quantize(array, group_size=group_size, bits=bits)
        base = name.removesuffix(".weight")
        for part, value in zip(("weight", "scales", "biases"), parts, strict=True):
            result[f"{base}.{part}"] = value
    return result


def _tokenizer() -> tokenizers.Tokenizer:
    vocab = {token: index for index, token in enumerate(TOKENS)}
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=MERGES))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(END, special=True, normalized=False)])
    return tokenizer
