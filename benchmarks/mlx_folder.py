"""A GGUF file of the llama architecture as a folder that mlx-lm loads, with the same weights.

The file is read with the `gguf` package and the result is run by mlx-lm, so the folder is also the
tests' oracle: nothing of the engine takes part in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, dequantize

GROUP_SIZE = 32  # elements in a block of Q4_0, Q4_1 and Q8_0

Array = np.ndarray[Any, Any]

_TOP_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def metadata(gguf: Path) -> dict[str, Any]:
    """Every key of the file's metadata with its value as a Python object."""
    return {key: field.contents() for key, field in GGUFReader(gguf).fields.items()}


def convert(gguf: Path, folder: Path, *, tokenizer: bool = True) -> Path:
    """Writes config.json, model.safetensors and (unless told not to) tokenizer.json into `folder`.

    Blocks of Q4_0, Q4_1 and Q8_0 become MLX's affine groups of 32, exactly: the values of both
    forms are equal in float32. Scales, biases and everything unquantized are float32, because MLX's
    quantized matmul on x86 takes seconds a token with 16-bit scales.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reader = GGUFReader(gguf)
    keys = {key: field.contents() for key, field in reader.fields.items()}
    config = _config(keys, {tensor.name for tensor in reader.tensors})
    weights: dict[str, mx.array] = {}
    for tensor in reader.tensors:
        if tensor.name == "rope_freqs.weight":  # llama 3's scaling, which config.json states
            continue
        name = _checkpoint_name(tensor.name)
        rows = _row_order(tensor.name, tensor.data.shape[0], config)
        data = tensor.data if rows is None else tensor.data[rows]
        bits = {"Q4_0": 4, "Q4_1": 4, "Q8_0": 8}.get(tensor.tensor_type.name)
        if bits is None:
            weights[f"{name}.weight"] = mx.array(dequantize(data, tensor.tensor_type))
            continue
        parts = affine_groups(data, tensor.tensor_type)
        for part, array in zip(("weight", "scales", "biases"), parts, strict=True):
            weights[f"{name}.{part}"] = mx.array(array)
        quantization = config.setdefault("quantization", {"group_size": GROUP_SIZE, "bits": 4})
        if bits != quantization["bits"]:
            quantization[name] = {"group_size": GROUP_SIZE, "bits": bits}
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    if tokenizer:
        _write_tokenizer(keys, folder)
    return folder


def cached(gguf: Path) -> Path:
    """The folder for `gguf` in the user's cache, made at first use."""
    stat = gguf.stat()
    key = hashlib.sha256(f"{gguf.resolve()} {stat.st_size} {stat.st_mtime_ns}".encode())
    root = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "vllm-swift-benchmarks"
    folder = root / f"{gguf.stem}-{key.hexdigest()[:12]}"
    if not folder.exists():
        root.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=root))
        try:
            convert(gguf, unfinished).rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def affine_groups(data: Array, kind: GGMLQuantizationType) -> tuple[Array, Array, Array]:
    """GGUF blocks `[rows, bytes]` as MLX's (packed uint32, scales, biases), the latter float32.

    A value is `code * scale + bias` with unsigned codes. Q4_0 stores `(code - 8) * d`, Q4_1
    `code * d + m`, Q8_0 a signed `code * d`.
    """
    header = {"Q4_0": 2, "Q4_1": 4, "Q8_0": 2}[kind.name]
    body = GROUP_SIZE if kind.name == "Q8_0" else GROUP_SIZE // 2
    rows = data.shape[0]
    blocks = np.ascontiguousarray(data).reshape(rows, -1, header + body)
    floats = blocks[..., :header].copy().view(np.float16).astype(np.float32)
    scales, codes = floats[..., 0], blocks[..., header:]
    if kind.name == "Q8_0":
        codes = codes ^ 0x80  # signed to unsigned, 128 higher
        biases = scales * -128
        packed = codes
    else:
        codes = np.concatenate([codes & 0xF, codes >> 4], axis=-1)
        biases = floats[..., 1] if kind.name == "Q4_1" else scales * -8
        packed = codes[..., 0::2] | codes[..., 1::2] << 4
    words = np.ascontiguousarray(packed).reshape(rows, -1).view(np.uint32)
    return words, np.ascontiguousarray(scales), np.ascontiguousarray(biases)


def _config(keys: dict[str, Any], tensor_names: set[str]) -> dict[str, Any]:
    architecture = keys["general.architecture"]
    if architecture != "llama":
        raise ValueError(f"cannot convert the architecture {architecture!r}, only llama")

    def key(name: str, default: Any = None) -> Any:
        return keys.get(f"llama.{name}", default)

    heads = key("attention.head_count")
    hidden = key("embedding_length")
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": hidden,
        "num_hidden_layers": key("block_count"),
        "intermediate_size": key("feed_forward_length"),
        "num_attention_heads": heads,
        "num_key_value_heads": key("attention.head_count_kv", heads),
        "head_dim": key("attention.key_length", hidden // heads),
        "rms_norm_eps": key("attention.layer_norm_rms_epsilon"),
        "rope_theta": key("rope.freq_base", 10000.0),
        "max_position_embeddings": key("context_length"),
        "tie_word_embeddings": "output.weight" not in tensor_names,
        "vocab_size": len(keys["tokenizer.ggml.tokens"]),
        "bos_token_id": keys.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": keys.get("tokenizer.ggml.eos_token_id"),
    }


def _checkpoint_name(name: str) -> str:
    base = name.removesuffix(".weight")
    if base.startswith("blk."):
        _, layer, part = base.split(".")
        return f"model.layers.{layer}.{_LAYER_NAMES[part]}"
    return _TOP_NAMES[base]


def _row_order(name: str, rows: int, config: dict[str, Any]) -> Array | None:
    """GGUF interleaves the two halves of each head's rotary dimensions in q and k; undone here."""
    heads = {
        "attn_q.weight": config["num_attention_heads"],
        "attn_k.weight": config["num_key_value_heads"],
    }.get(name.split(".", 2)[-1])
    if heads is None:
        return None
    return np.arange(rows).reshape(heads, rows // heads // 2, 2).swapaxes(1, 2).reshape(-1)


def _write_tokenizer(keys: dict[str, Any], folder: Path) -> None:
    from transformers.integrations.gguf.gguf_tokenizer_mapping import convert_gguf_tokenizer

    prefix = "tokenizer.ggml."
    fields = {k.removeprefix(prefix): v for k, v in keys.items() if k.startswith(prefix)}
    fields["tokenizer_type"] = fields.pop("model")
    tokenizer, _ = convert_gguf_tokenizer("llama", fields)
    tokenizer.save(str(folder / "tokenizer.json"))
    tokens = fields["tokens"]
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tokens[fields["bos_token_id"]],
        "eos_token": tokens[fields["eos_token_id"]],
        "clean_up_tokenization_spaces": False,
    }
    if template := keys.get("tokenizer.chat_template"):
        settings["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1))
