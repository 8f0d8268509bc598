"""Tokenizers out of GGUF metadata.

``data/sentencepiece_bpe.json`` holds a small vocabulary and the ids that the sentencepiece library
itself gives for some texts.
"""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from vllm_swift_engine.errors import ModelCorruptError, UnsupportedError
from vllm_swift_engine.models.gguf_tokenizer import (
    TokenizerMetadata,
    convert_tokenizer,
    tokenizer_config,
)

RECORDED = json.loads((Path(__file__).parent / "data/sentencepiece_bpe.json").read_bytes())
CASES: list[dict[str, Any]] = RECORDED["cases"]


def convert(data: dict[str, Any]) -> Tokenizer:
    return convert_tokenizer(TokenizerMetadata.of(data))


def sentencepiece(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(RECORDED["tokenizer"]), **changes}


def byte_level(pre: str, **changes: Any) -> dict[str, Any]:
    """Digits, letters, a space, and every merge of two of them."""
    alphabet = [*"0123456789", *"abc", "Ġ", "é", "Ã", "©", "!"]
    pairs = [(left, right) for left in alphabet for right in alphabet]
    special = ["<|begin|>", "<|end|>"]
    tokens = [*alphabet, *(left + right for left, right in pairs), *special]
    return {
        "model": "gpt2",
        "pre": pre,
        "tokens": tokens,
        "token_types": [1] * (len(tokens) - 2) + [3, 3],
        "merges": [f"{left} {right}" for left, right in pairs],
        "bos_token_id": len(tokens) - 2,
        "eos_token_id": len(tokens) - 1,
        **changes,
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case["text"])[:20])
def test_sentencepiece_gives_the_librarys_ids_and_text(case: dict[str, Any]) -> None:
    tokenizer = convert(sentencepiece())
    assert tokenizer.encode(case["text"], add_special_tokens=False).ids == case["ids"]
    assert tokenizer.decode(case["ids"]) == case["decoded"]


def test_sentencepiece_begins_with_bos_unless_told_otherwise() -> None:
    text, ids = CASES[0]["text"], CASES[0]["ids"]
    assert convert(sentencepiece()).encode(text).ids == [1, *ids]
    without = sentencepiece(add_bos_token=False, add_eos_token=True)
    assert convert(without).encode(text).ids == [*ids, 2]


def test_no_space_in_front_when_the_file_says_so() -> None:
    tokenizer = convert(sentencepiece(add_space_prefix=False, add_bos_token=False))
    assert tokenizer.decode(tokenizer.encode(" a").ids) == " a"
    assert tokenizer.encode("a").ids != tokenizer.encode(" a").ids


@pytest.mark.parametrize(
    ("pre", "text", "pieces"),
    [
        # Digits stand alone, whatever could be merged.
        ("smollm", "12 34", ["1", "2", "Ġ", "3", "4"]),
        # Runs of digits stay together.
        ("gpt-2", "12 34", ["12", "Ġ", "34"]),
        ("default", "12 34", ["12", "Ġ", "34"]),
        # A digit at a time, and spaces apart from digits.
        ("qwen2", "12 34", ["1", "2", "Ġ", "3", "4"]),
        # At most three digits.
        ("llama-bpe", "1234", ["12", "3", "4"]),
        ("tekken", "12", ["1", "2"]),
        ("llama-bpe", "a b", ["a", "Ġb"]),
        # qwen2 composes characters first: e and an accent are one é.
        ("qwen2", "e\u0301", ["Ã©"]),
    ],
)
def test_text_is_cut_as_the_file_says(pre: str, text: str, pieces: list[str]) -> None:
    tokenizer = convert(byte_level(pre, add_bos_token=False))
    assert tokenizer.encode(text).tokens == pieces


def test_llama3_takes_a_word_that_is_a_token_whole() -> None:
    data = byte_level("llama-bpe", add_bos_token=False)
    data["tokens"].append("cab")
    data["token_types"].append(1)
    assert convert(data).encode("cab").tokens == ["cab"]
    assert convert({**data, "pre": "qwen2"}).encode("cab").tokens == ["c", "ab"]


def test_llama3_begins_with_bos_and_qwen2_does_not() -> None:
    assert convert(byte_level("llama-bpe")).encode("a").tokens == ["<|begin|>", "a"]
    assert convert(byte_level("qwen2")).encode("a").tokens == ["a"]


def test_special_tokens_are_whole_and_silent_and_others_whole_and_shown() -> None:
    data = byte_level("smollm")
    data["tokens"].append("<think>")
    data["token_types"].append(4)
    tokenizer = convert(data)
    encoded = tokenizer.encode("a<|end|><think>b")
    assert encoded.tokens == ["a", "<|end|>", "<think>", "b"]
    assert tokenizer.decode(encoded.ids) == "a<think>b"
    assert tokenizer.get_vocab_size() == len(data["tokens"])


def test_the_config_names_every_end_token() -> None:
    data = byte_level("smollm", eot_token_id=0)
    data["tokens"] += ["<|im_end|>", "<|endoftext|>"]
    data["token_types"] += [3, 1]
    template = {"tokenizer.chat_template": "a", "tokenizer.chat_template.tool_use": "b"}
    config = tokenizer_config(TokenizerMetadata.of(data), template)
    named = data["tokens"].index("<|im_end|>")
    # The last has the name of an end token but is a word like any other.
    assert config["eos_token_id"] == sorted([0, data["eos_token_id"], named])
    assert (config["bos_token"], config["eos_token"]) == ("<|begin|>", "<|end|>")
    assert config["chat_template"] == [
        {"name": "default", "template": "a"},
        {"name": "tool_use", "template": "b"},
    ]


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({**byte_level("smollm"), "model": "bert"}, "bert"),
        (byte_level("a-model-of-tomorrow"), "a-model-of-tomorrow"),
    ],
)
def test_an_unknown_kind_is_refused_by_name(data: dict[str, Any], name: str) -> None:
    with pytest.raises(UnsupportedError, match=name):
        convert(data)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": None},
        {"tokens": []},
        {"tokens": None},
        {"tokens": ["a", 1]},
        {"token_types": [1]},
        {"token_types": "x"},
        {"merges": None},
        {"merges": ["nothing like it"]},
        {"merges": ["a"]},
        {"merges": [1]},
        {"bos_token_id": 10**6, "add_bos_token": True},
        {"bos_token_id": "1", "add_bos_token": True},
    ],
)
def test_damaged_metadata_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelCorruptError):
        convert(byte_level("smollm", **changes))


@pytest.mark.parametrize(
    "changes", [{"scores": None}, {"scores": [1.0]}, {"scores": ["x"]}, {"unknown_token_id": -1}]
)
def test_damaged_sentencepiece_metadata_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelCorruptError):
        convert(sentencepiece(**changes))


def test_random_damage_is_refused_or_harmless() -> None:
    """Nothing but typed errors, whatever is missing or of another type."""
    random.seed(0)
    values: list[Any] = [None, 1, -1, 1.5, "x", [], ["x"], [None], [1], {}, True, [["a", "b"]]]
    for _ in range(300):
        data = random.choice([sentencepiece(), byte_level("smollm")])
        data[random.choice([*data])] = random.choice(values)
        try:
            convert(data)
            tokenizer_config(TokenizerMetadata.of(data), {})
        except (ModelCorruptError, UnsupportedError):
            pass
