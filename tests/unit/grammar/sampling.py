"""Outputs that only a grammar holds: random choices among the bytes that it allows."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache

from llguidance import LLMatcher, LLTokenizer
from llguidance._tokenizer import TokenizerWrapper

from vllm_swift_engine.grammar import GrammarSource

END = 256
#: Bytes that bring an output to its end.
_CLOSING = [ord(char) for char in '"]}']
#: Bytes that begin something new, to be avoided when it is time to end.
_OPENING = frozenset(b",[{.eE")


class _Bytes:
    """A vocabulary of all bytes and an end."""

    eos_token_id = END
    bos_token_id = None
    tokens = [bytes([byte]) for byte in range(256)] + [b"<|end|>"]
    special_token_ids = [END]  # noqa: RUF012

    def __call__(self, text: bytes | str) -> list[int]:
        return [*(text.encode() if isinstance(text, str) else text)]


@lru_cache(maxsize=1)
def _tokenizer() -> LLTokenizer:
    return LLTokenizer(TokenizerWrapper(_Bytes()), slices=[])


def matcher(source: GrammarSource) -> LLMatcher:
    """A matcher of a grammar; a test fails where it does not compile."""
    make = {
        "json_schema": LLMatcher.grammar_from_json_schema,
        "regex": LLMatcher.grammar_from_regex,
        "lark": LLMatcher.grammar_from_lark,
    }[source.kind]
    made = LLMatcher(_tokenizer(), make(source.text), log_level=0)
    assert not made.is_error(), (made.get_error(), source.text)
    return made


def sample(source: GrammarSource, seed: int, limit: int = 400) -> str | None:
    """One output; None where it had not ended after ``limit`` bytes."""
    chance, held = random.Random(seed), matcher(source)
    calm = chance.randrange(4, 60)
    taken = bytearray()
    while len(taken) < limit:
        mask = held.compute_logit_bias()
        assert not held.is_error(), (held.get_error(), source.text, bytes(taken))
        allowed = [token for token, bias in enumerate(mask) if bias]
        assert allowed, ("nothing can follow", bytes(taken), source.text)
        token = _choose(allowed, chance, len(taken) > calm)
        if token == END:
            return taken.decode()
        assert held.consume_token(token), (held.get_error(), bytes(taken))
        taken.append(token)
        if held.is_stopped():
            return taken.decode()
    return None


def accepts(source: GrammarSource, text: str) -> bool:
    """Whether a whole text is an output of the grammar."""
    held = matcher(source)
    tokens: Sequence[int] = [*text.encode()]
    return held.validate_tokens([*tokens]) == len(tokens) and (
        held.consume_tokens([*tokens]) and held.is_accepting()
    )


def _choose(allowed: list[int], chance: random.Random, ending: bool) -> int:
    ends = [token for token in (*_CLOSING, END) if token in allowed]
    if ends and chance.random() < (0.9 if ending else 0.25):
        return chance.choice(ends)
    if ending:
        calmer = [token for token in allowed if token not in _OPENING]
        allowed = calmer or allowed
    # Letters and digits as often as the other 190 bytes together.
    plain = [token for token in allowed if token < 128 and chr(token).isalnum()]
    return chance.choice(plain if plain and chance.random() < 0.5 else allowed)
