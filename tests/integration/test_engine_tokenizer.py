"""The tokenizer and chat template of a real GGUF file, against transformers' reading of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.integrations.gguf.gguf_tokenizer_mapping import convert_gguf_tokenizer
from transformers.utils.chat_template_utils import render_jinja_template

from vllm_swift_engine import Engine, SamplingParams
from vllm_swift_engine.models.file import ModelFile
from vllm_swift_engine.models.tokenizer import Tokenizer, load_tokenizer

pytestmark = pytest.mark.model

TEXTS = [
    "Hello, world! It's a test; we'll see what they've done.",
    "  two  spaces   three\ttab\n\n\nlines\r\n end ",
    "naïve café “quotes” — dash… ümläut ß",
    "日本語のテキスト、中文，한국어",
    "emoji 😀👩‍👩‍👧‍👦🇩🇪 e\u0301 \u00a0\u2003 zero\u200bwidth",
    "العربية हिन्दी ไทย עברית",
    "def f(x):\n    return x ** 2  # comment\n\tif (a!=b): {}[]<>~`@#$%^&*",
    "<|im_start|>user\nhi<|im_end|>\n<|endoftext|>",
    "<|im_start|<repo_name><file_sep>not<|im_endx|>",
    "a" * 300,
    " ",
    "",
]
CHATS: list[list[dict[str, str]]] = [
    [{"role": "user", "content": "Hi"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Ü <b>&</b>?"}],
    [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c\n\n"},
    ],
]


@pytest.fixture(scope="module")
def oracle(smollm2: Path) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    fields = gguf.GGUFReader(smollm2).fields
    data = {
        name: fields[f"tokenizer.ggml.{key}"].contents()
        for name, key in (
            ("tokenizer_type", "model"),
            ("pre_tokenizer_type", "pre"),
            ("tokens", "tokens"),
            ("token_type", "token_type"),
            ("merges", "merges"),
        )
    }
    special = {
        name: data["tokens"][fields[f"tokenizer.ggml.{key}_token_id"].contents()]
        for name, key in (
            ("bos_token", "bos"),
            ("eos_token", "eos"),
            ("unk_token", "unknown"),
            ("pad_token", "padding"),
        )
    }
    backend, _ = convert_gguf_tokenizer("llama", data)
    template = fields["tokenizer.chat_template"].contents()
    return backend, {**special, "chat_template": template}


@pytest.fixture(scope="module")
def ours(smollm2: Path) -> Iterator[Tokenizer]:
    with ModelFile(smollm2) as file:
        yield load_tokenizer(file)


@pytest.mark.parametrize("text", TEXTS)
def test_ids_and_text_are_transformers(
    ours: Tokenizer, oracle: tuple[tokenizers.Tokenizer, dict[str, Any]], text: str
) -> None:
    expected = oracle[0].encode(text, add_special_tokens=False).ids
    assert ours.encode(text) == expected
    assert ours.decode(expected) == oracle[0].decode(expected)


@settings(deadline=None)
@given(text=st.text(st.characters(codec="utf-8", exclude_categories=["Nd", "Nl", "No"])))
def test_any_text_without_digits_has_transformers_ids(
    ours: Tokenizer, oracle: tuple[tokenizers.Tokenizer, dict[str, Any]], text: str
) -> None:
    assert ours.encode(text) == oracle[0].encode(text, add_special_tokens=False).ids


def test_digits_stand_alone(ours: Tokenizer) -> None:
    """SmolLM2's published tokenizer splits them; transformers' reading of GGUF files does not."""
    tokens = ours.encode("In 2024, 3.14159")
    assert [ours.decode([token]) for token in tokens] == [
        "In", " ", *"2024", ",", " ", "3", ".", *"14159",
    ]  # fmt: skip


def test_the_special_tokens_are_the_files(
    ours: Tokenizer, oracle: tuple[tokenizers.Tokenizer, dict[str, Any]]
) -> None:
    for name in ("bos_token", "eos_token", "unk_token", "pad_token"):
        assert ours.config[name] == oracle[1][name]
    assert ours.stop_token_ids == (0, 2)


@pytest.mark.parametrize("add_generation_prompt", [False, True])
@pytest.mark.parametrize("chat", CHATS)
def test_the_chat_template_renders_as_in_transformers(
    smollm2_engine: Engine,
    oracle: tuple[tokenizers.Tokenizer, dict[str, Any]],
    chat: list[dict[str, str]],
    add_generation_prompt: bool,
) -> None:
    special = {name: token for name, token in oracle[1].items() if name.endswith("_token")}
    expected, _ = render_jinja_template(
        conversations=[chat],
        chat_template=oracle[1]["chat_template"],
        add_generation_prompt=add_generation_prompt,
        **special,
    )
    rendered = smollm2_engine.render_chat_template(
        chat, add_generation_prompt=add_generation_prompt
    )
    assert rendered == expected[0]
    ids = smollm2_engine.apply_chat_template(chat, add_generation_prompt=add_generation_prompt)
    assert ids == oracle[0].encode(expected[0], add_special_tokens=False).ids


def test_the_conversion_is_kept_and_made_again_when_damaged(
    smollm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_SWIFT_CACHE", str(tmp_path))

    def ids() -> list[int]:
        with ModelFile(smollm2) as file:
            return load_tokenizer(file).encode(TEXTS[0])

    first = ids()
    (entry,) = (tmp_path / "tokenizers").iterdir()
    kept = entry / "tokenizer.json"
    content = kept.read_bytes()
    assert json.loads(content)["model"]["type"] == "BPE"
    assert ids() == first
    for damage in (content[: len(content) // 2], content.replace(b'"Hello"', b'"Jello"'), b""):
        kept.write_bytes(damage)
        assert ids() == first
        assert kept.read_bytes() == content


def test_a_cache_folder_that_cannot_be_made_does_no_harm(
    smollm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VLLM_SWIFT_CACHE", str(tmp_path / "file"))
    with ModelFile(smollm2) as file:
        assert load_tokenizer(file).encode("Hello") == [19556]


def test_the_config_is_read_without_the_token_lists(smollm2: Path) -> None:
    with ModelFile(smollm2) as file:
        assert file.config["model_type"] == "llama"
        assert file.config["num_hidden_layers"] == 30
        assert "tokenizer" not in vars(file)
        assert len(file.tokenizer["tokens"]) == file.config["vocab_size"] == 49152
        assert file.metadata["general.architecture"] == "llama"
        assert {tensor["name"] for tensor in file.tensors} >= {"model.embed_tokens.weight"}


def test_generated_text_is_what_the_library_decodes(smollm2_engine: Engine) -> None:
    params = SamplingParams(temperature=2.0, seed=3, max_tokens=60)
    output = smollm2_engine.generate("日本 emoji 😀:", params).outputs[0]
    assert output.text == smollm2_engine.detokenize(output.token_ids)
