"""The oracle is the ``tokenizers`` library's own decoding of all tokens at once."""

from __future__ import annotations

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, pre_tokenizers

from tests.unit.engine.tokenizers_made_here import byte_level, sentencepiece
from vllm_swift_engine.chat.detokenize import Detokenizer, TokenBytes
from vllm_swift_engine.errors import UnsupportedError

BYTE_LEVEL = byte_level()
SENTENCEPIECE = sentencepiece()
TABLES = {id(tokenizer): TokenBytes(tokenizer) for tokenizer in (BYTE_LEVEL, SENTENCEPIECE)}


def byte_alphabet() -> dict[int, str]:
    """How the library spells each byte; a text with every byte that UTF-8 can have shows it."""
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str
    codes = [*range(0x800), *range(0x800, 0xD800, 0x400), 0xE000, 0xF000]
    text = "".join(map(chr, [*codes, *range(0x10000, 0x110000, 0x10000)]))
    return dict(zip(text.encode(), "".join(part for part, _ in split(text)), strict=True))


ALPHABET = byte_alphabet()
any_text = st.text(st.characters(codec="utf-8"), max_size=40)
byte_ids = st.lists(st.integers(0, BYTE_LEVEL.get_vocab_size() + 5), max_size=40)


def pieces(tokenizer: tokenizers.Tokenizer, ids: list[int]) -> list[str]:
    detokenizer = Detokenizer(TABLES[id(tokenizer)])
    return [*(detokenizer.push(token) for token in ids), detokenizer.flush()]


@given(text=any_text)
@pytest.mark.parametrize("tokenizer", [BYTE_LEVEL, SENTENCEPIECE], ids=["bytes", "sentencepiece"])
def test_the_stream_of_a_text_is_the_text(tokenizer: tokenizers.Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text).ids
    assert "".join(pieces(tokenizer, ids)) == tokenizer.decode(ids)


@given(text=any_text)
def test_a_text_in_single_bytes_is_the_text(text: str) -> None:
    """Characters in as many tokens as they have bytes, as a sampler may choose them."""
    ids = [BYTE_LEVEL.token_to_id(ALPHABET[byte]) for byte in text.encode()]
    assert "".join(pieces(BYTE_LEVEL, ids)) == text


@given(ids=byte_ids)
def test_any_tokens_are_what_the_library_decodes(ids: list[int]) -> None:
    assert "".join(pieces(BYTE_LEVEL, ids)) == BYTE_LEVEL.decode(ids)


@given(text=any_text)
def test_no_piece_has_a_broken_character(text: str) -> None:
    ids = BYTE_LEVEL.encode(text).ids
    assert all("\ufffd" not in piece or "\ufffd" in text for piece in pieces(BYTE_LEVEL, ids))


def test_a_character_appears_with_its_last_token() -> None:
    ids = [SENTENCEPIECE.token_to_id(f"<0x{byte:02X}>") for byte in "😀".encode()]
    assert pieces(SENTENCEPIECE, ids) == ["", "", "", "😀", ""]


def test_a_space_in_front_of_the_first_token_is_kept() -> None:
    ids = [SENTENCEPIECE.token_to_id("▁ab"), SENTENCEPIECE.token_to_id("▁")]
    assert pieces(SENTENCEPIECE, ids) == [" ab", " ", ""]


def test_special_tokens_and_unknown_ids_are_silent() -> None:
    ids = [BYTE_LEVEL.token_to_id("<|end|>"), 10**6, *BYTE_LEVEL.encode("<wörk ing>").ids]
    assert "".join(pieces(BYTE_LEVEL, ids)) == "<wörk ing>"


@given(ids=byte_ids)
def test_special_tokens_are_what_the_library_decodes(ids: list[int]) -> None:
    detokenizer = Detokenizer(TokenBytes(BYTE_LEVEL, skip_special_tokens=False))
    text = "".join(detokenizer.push(token) for token in ids) + detokenizer.flush()
    assert text == BYTE_LEVEL.decode(ids, skip_special_tokens=False)


def test_a_long_run_of_bytes_that_are_no_text() -> None:
    continuation = BYTE_LEVEL.token_to_id(ALPHABET[0x80])
    assert "".join(pieces(BYTE_LEVEL, [continuation] * 20_000)) == "\ufffd" * 20_000


def test_other_decoders_are_refused_by_name() -> None:
    tokenizer = byte_level()
    tokenizer.decoder = decoders.WordPiece()
    with pytest.raises(UnsupportedError, match="WordPiece"):
        TokenBytes(tokenizer)
