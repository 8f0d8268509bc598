"""Token ids to text as they come, never a broken character.

``tokenizers.decoders.DecodeStream`` is not used: on runs of bytes that are no text, or of special
tokens, its cost grows with the square of their length, with sentencepiece it raises, and what it
holds back at the end is lost. Both kinds of decoder that language models have can instead be stated
as *bytes of each token*, and then Python's incremental UTF-8 decoder does the rest.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import TYPE_CHECKING

from vllm_swift_engine.errors import UnsupportedError

if TYPE_CHECKING:
    import tokenizers

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SENTENCEPIECE_STEPS = frozenset({"Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"})


def _byte_of_character() -> dict[str, int]:
    """GPT-2's alphabet: every byte as a printable character."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    table.update({chr(0x100 + index): byte for index, byte in enumerate(others)})
    return table


class TokenBytes(dict[int, bytes]):
    """The bytes that each token adds to a text. Filled as it is used.

    Args:
        tokenizer: the model's.
        skip_special_tokens: special tokens add nothing; else what they are spelled with.

    Raises:
        UnsupportedError: the tokenizer's decoder is neither byte-level nor sentencepiece.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer, skip_special_tokens: bool = True) -> None:
        super().__init__()
        self._tokenizer = tokenizer
        self._skip = skip_special_tokens
        self._special = {
            index for index, token in tokenizer.get_added_tokens_decoder().items() if token.special
        }
        steps = _decoder_steps(tokenizer)
        if steps == {"ByteLevel"}:
            self._alphabet: dict[str, int] | None = _byte_of_character()
        elif steps and steps <= _SENTENCEPIECE_STEPS:
            self._alphabet = None
        else:
            raise UnsupportedError(
                f"The tokenizer's decoder ({', '.join(sorted(steps)) or 'none'}) is not supported "
                "yet; byte-level and sentencepiece decoders are."
            )

    def __missing__(self, token: int) -> bytes:
        self[token] = known = self._bytes(token)
        return known

    def text(self, token: int) -> str:
        """One token by itself: U+FFFD for a part of a character; a special token as it is named."""
        if token in self._special:
            return self._tokenizer.id_to_token(token) or ""
        return self[token].decode("utf-8", "replace")

    def marked(self, token: int) -> bytes:
        """Its bytes; of a special token 0xFF, which no text has, and its name."""
        if token in self._special:
            return b"\xff" + (self._tokenizer.id_to_token(token) or "").encode()
        return self[token]

    @property
    def is_byte_level(self) -> bool:
        """Whether each character of a token stands for a byte."""
        return self._alphabet is not None

    def is_byte(self, token: int) -> bool:
        """Whether it is the token of a byte in a vocabulary of characters."""
        text = self._tokenizer.id_to_token(token)
        return not self.is_byte_level and bool(text and _BYTE_TOKEN.fullmatch(text))

    def _bytes(self, token: int) -> bytes:
        text = self._tokenizer.id_to_token(token)
        # An embedding may have more rows than the vocabulary has tokens.
        if text is None or (self._skip and token in self._special):
            return b""
        if token in self._special:
            return text.encode()
        if self._alphabet is not None:
            values = [self._alphabet.get(character) for character in text]
            # Added tokens are spelled as they are.
            return text.encode() if None in values else bytes(value or 0 for value in values)
        if byte := _BYTE_TOKEN.fullmatch(text):
            return bytes([int(byte[1], 16)])
        return text.replace("\u2581", " ").encode()


def _decoder_steps(tokenizer: tokenizers.Tokenizer) -> set[str]:
    if tokenizer.decoder is None:
        return set()
    state = json.loads(tokenizer.decoder.__getstate__())
    return {step["type"] for step in state.get("decoders", [state])}


class Detokenizer:
    """The text of one growing sequence that continues a prompt.

    The concatenation of all ``push`` and the final ``flush`` is the text of all tokens. Bytes that
    can never become a character are U+FFFD, as the Unicode standard recommends (3.9, table 3-8).
    """

    def __init__(self, token_bytes: TokenBytes) -> None:
        self._bytes = token_bytes
        #: The beginning of a character.
        self._held = b""

    def push(self, *tokens: int) -> str:
        """The characters that these tokens complete."""
        data = self._held + b"".join(map(self._bytes.__getitem__, tokens))
        text, read = codecs.utf_8_decode(data, "replace")
        self._held = data[read:]
        return text

    def flush(self) -> str:
        """What is left at the end: U+FFFD for an incomplete character, else nothing."""
        held, self._held = self._held, b""
        return codecs.utf_8_decode(held, "replace", True)[0]
