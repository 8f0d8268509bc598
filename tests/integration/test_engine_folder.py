"""Model folders: what the engine takes from the files beside the weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from tests import tiny_llama
from vllm_swift_engine import Engine, SamplingParams
from vllm_swift_engine.errors import (
    ModelCorruptError,
    ModelError,
    ModelNotFoundError,
    UnsupportedArchitectureError,
    UnsupportedError,
)

GREEDY = SamplingParams(temperature=0, max_tokens=8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    weights = {name: mx.array(array) for name, array in tiny_llama.random_weights().items()}
    tiny_llama.write_folder(tmp_path / "model", weights)
    return tmp_path / "model"


def change(path: Path, **values: Any) -> None:
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**content, **values}))


def greedy(folder: Path, prompt: str = "a") -> list[int]:
    with Engine(folder) as engine:
        return engine.generate(prompt, GREEDY).outputs[0].token_ids


@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize("name", ["generation_config.json", "config.json"])
def test_the_models_end_tokens_end_an_output(folder: Path, name: str, as_list: bool) -> None:
    tokens = greedy(folder)
    end = tokens[3]
    change(folder / name, eos_token_id=[end] if as_list else end)
    assert greedy(folder) == tokens[: tokens.index(end)]


def test_a_folder_without_a_template_says_so_and_generates(folder: Path) -> None:
    with Engine(folder) as engine:
        with pytest.raises(UnsupportedError, match="chat template"):
            engine.apply_chat_template([{"role": "user", "content": "a"}])
        assert engine.generate("a", GREEDY).usage.completion_tokens > 0
        assert engine.info.architecture == "llama"


def test_a_limit_in_the_tokenizer_does_not_cut_a_prompt(folder: Path) -> None:
    whole = greedy(folder, "a b a b a b")
    content = json.loads((folder / "tokenizer.json").read_text())
    content["truncation"] = {
        "direction": "Right",
        "max_length": 2,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    (folder / "tokenizer.json").write_text(json.dumps(content))
    assert greedy(folder, "a b a b a b") == whole


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("tokenizer.json", None, ModelNotFoundError),
        ("tokenizer.json", "{", ModelCorruptError),
        ("tokenizer.json", "{}", ModelCorruptError),
        ("tokenizer_config.json", "[]", ModelCorruptError),
        ("tokenizer_config.json", "{", ModelCorruptError),
        ("generation_config.json", "nonsense", ModelCorruptError),
        ("config.json", None, ModelNotFoundError),
        ("config.json", "{", ModelCorruptError),
        ("config.json", "{}", ModelError),
        ("config.json", '{"model_type": "mamba"}', UnsupportedArchitectureError),
        ("model.safetensors", None, ModelError),
        ("model.safetensors", "short", ModelCorruptError),
    ],
)
def test_a_damaged_folder_is_refused(
    folder: Path, name: str, content: str | None, error: type[ModelError]
) -> None:
    path = folder / name
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    with pytest.raises(error) as caught:
        Engine(folder)
    assert str(folder) in str(caught.value) or "config" in str(caught.value)
