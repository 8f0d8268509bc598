"""Sampling parameters, under vLLM's names and with vLLM's defaults."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

from .errors import InvalidArgumentError, UnsupportedError

_UINT32_MAX = 2**32 - 1
_UINT64_MAX = 2**64 - 1
_FLOAT32_MAX = 3.4028234e38

#: vLLM's parameters that are accepted at their default alone, until the engine has them.
_RESERVED: dict[str, Any] = {
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "repetition_penalty": 1.0,
    "min_tokens": 0,
    "ignore_eos": False,
    "logprobs": None,
    "prompt_logprobs": None,
    "logit_bias": None,
    "allowed_token_ids": None,
    "bad_words": None,
    "include_stop_str_in_output": False,
    "detokenize": True,
    "skip_special_tokens": True,
    "spaces_between_special_tokens": True,
    "truncate_prompt_tokens": None,
    "structured_outputs": None,
    "extra_args": None,
}


def _is(value: object, kind: type) -> bool:
    """Whether a value is a number of that kind; True and False are not meant as numbers."""
    return isinstance(value, kind) and not isinstance(value, bool)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How one request is sampled and when it ends.

    Fields:
        n: outputs for the prompt, 1 .. 1024; with a seed, output i is that of seed + i.
        temperature: >= 0; 0 is greedy.
        top_p: in (0, 1]; 1 is off.
        top_k: >= 1; 0 or -1 is off.
        min_p: in [0, 1]; 0 is off.
        seed: 0 .. 2**64 - 1; None or -1 draws a fresh one for each request.
        stop: a string or strings that end the output; never part of the text.
        stop_token_ids: token ids that end the output besides the model's own; not reported.
        max_tokens: >= 1; None fills the context.

    Every other field of vLLM's class is there, and accepted at its default alone.

    Raises:
        InvalidArgumentError: a value is out of range, NaN, or of the wrong type.
        UnsupportedError: a field that is not supported yet differs from its default.
    """

    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop: str | Sequence[str] | None = None
    stop_token_ids: Sequence[int] | None = None
    max_tokens: int | None = 16
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    min_tokens: int = 0
    ignore_eos: bool = False
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    logit_bias: dict[int, float] | None = None
    allowed_token_ids: Sequence[int] | None = None
    bad_words: Sequence[str] | None = None
    include_stop_str_in_output: bool = False
    detokenize: bool = True
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True
    truncate_prompt_tokens: int | None = None
    structured_outputs: Any = None
    extra_args: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        for name, default in _RESERVED.items():
            value = getattr(self, name)
            # An empty list of words or biases asks for nothing.
            if value != default and not (default is None and value in ([], {}, ())):
                raise UnsupportedError(
                    f"{name}={value!r} is not supported yet; leave it at {default!r}."
                )
        self._integer("n", 1, 1024, "an integer in 1 .. 1024")
        self._number("temperature", lambda value: value >= 0, ">= 0")
        self._number("top_p", lambda value: 0 < value <= 1, "in (0, 1]")
        self._number("min_p", lambda value: 0 <= value <= 1, "in [0, 1]")
        self._integer("top_k", -1, 2**31 - 1, "-1, 0 or a positive integer")
        if self.seed is not None:
            self._integer("seed", -1, _UINT64_MAX, "an integer in 0 .. 2**64 - 1, -1 or None")
        if self.max_tokens is not None:
            self._integer("max_tokens", 1, _UINT32_MAX, "a positive integer or None")
        self._stop_strings()
        self._stop_tokens()

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """``stop`` as a tuple."""
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _number(self, name: str, valid: Callable[[Any], bool], range_text: str) -> None:
        value: Any = getattr(self, name)
        # A NaN fails every comparison, so it is refused with the rest.
        try:
            number = float(value) if _is(value, Real) else float("nan")
        except OverflowError:
            number = float("inf")
        if not valid(number):
            raise InvalidArgumentError(f"{name} must be a number {range_text}, not {value!r}.")
        if number > _FLOAT32_MAX:
            raise InvalidArgumentError(f"{name} must fit into a float32, which {value!r} does not.")
        self._set(name, number)

    def _integer(self, name: str, low: int, high: int, range_text: str) -> None:
        value: Any = getattr(self, name)
        if not _is(value, Integral) or not low <= int(value) <= high:
            raise InvalidArgumentError(f"{name} must be {range_text}, not {value!r}.")
        self._set(name, int(value))

    def _stop_strings(self) -> None:
        stop: Any = self.stop
        if stop is None:
            return
        if not isinstance(stop, (str, list, tuple, set, frozenset)):
            raise InvalidArgumentError(f"stop must be a string or strings, not {stop!r}.")
        strings = (stop,) if isinstance(stop, str) else tuple(stop)
        for string in strings:
            if not isinstance(string, str) or not string:
                raise InvalidArgumentError(f"stop must hold non-empty strings, not {string!r}.")
        if not isinstance(stop, str):
            self._set("stop", strings)

    def _stop_tokens(self) -> None:
        tokens: Any = self.stop_token_ids
        if tokens is None:
            return
        try:
            values = tuple(tokens)
        except TypeError:
            raise InvalidArgumentError(f"stop_token_ids must be a list, not {tokens!r}.") from None
        for token in values:
            if not _is(token, Integral) or int(token) < 0:
                raise InvalidArgumentError(
                    f"stop_token_ids must hold token ids >= 0, not {token!r}."
                )
        self._set("stop_token_ids", tuple(int(token) for token in values))
