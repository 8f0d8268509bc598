"""The tokens of words that must not be generated."""

from __future__ import annotations

from collections.abc import Iterable

from vllm_swift_engine.errors import InvalidArgumentError

from .tokenizer import Tokenizer


def bad_word_tokens(words: Iterable[str], tokenizer: Tokenizer) -> list[list[int]]:
    """The sequences of tokens that vLLM bans for these words.

    A word is banned as it is tokenized at the start of a text, and as it is after a space, if that
    begins with another token and has as many. Spaces at its own start do not count.

    Raises:
        InvalidArgumentError: a word is nothing to the tokenizer.
    """
    sequences: list[list[int]] = []
    for word in words:
        bare, spaced = (
            tokenizer.encode(prefix + word.lstrip(), add_special_tokens=False)
            for prefix in ("", " ")
        )
        if not bare:
            raise InvalidArgumentError(f"bad_words has {word!r}, which has no tokens.")
        sequences.append(bare)
        if spaced[0] != bare[0] and len(spaced) == len(bare):
            sequences.append(spaced)
    return sequences
