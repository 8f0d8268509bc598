"""Sampling parameters, under vLLM's names and with vLLM's defaults."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from .errors import InvalidArgumentError, UnsupportedError
from .grammar.params import StructuredOutputsParams

_UINT32_MAX = 2**32 - 1
_UINT64_MAX = 2**64 - 1
_FLOAT32_MAX = 3.4028234e38

#: The most likely tokens that ``logprobs`` and ``prompt_logprobs`` may ask for.
MAX_LOGPROBS = 20
#: What vLLM cuts the values of ``logit_bias`` to, in either direction.
_MAX_BIAS = 100.0

#: vLLM's parameters that are accepted at their default alone, until the engine has them.
_RESERVED: dict[str, Any] = {
    "include_stop_str_in_output": False,
    "detokenize": True,
    "spaces_between_special_tokens": True,
    "truncate_prompt_tokens": None,
    "extra_args": None,
    "flat_logprobs": False,
    "logprob_token_ids": None,
    "output_kind": None,
    "prompt_logprob_start": None,
    "prompt_logprob_token_ids": None,
    "repetition_detection": None,
    "routed_experts_prompt_start": 0,
    "skip_reading_prefix_cache": None,
    "stream_interval": None,
    "thinking_token_budget": None,
    "trace_decode_token_ids": None,
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
        max_tokens: >= 1; None fills the context, or the KV cache where that holds less.
        min_tokens: so many tokens come before an end token or one of ``stop_token_ids``.
        ignore_eos: the model's own end tokens do not end the output.
        presence_penalty: in [-2, 2]; subtracted from the logits of tokens that the output has.
        frequency_penalty: in [-2, 2]; subtracted once for each time that the output has them.
        repetition_penalty: > 0, 1 is off; divides the logits, where they are positive, of tokens
            that prompt or output have, and multiplies them where they are negative.
        logit_bias: token ids and what is added to their logits, cut to [-100, 100] as by vLLM.
        allowed_token_ids: nothing else is sampled.
        bad_words: words that the output never has. As by vLLM, a word's tokens are those it has at
            the start of a text, and those after a space if they are as many.
        logprobs: logprobs of each token and of so many most likely ones, 0 .. 20; None is none.
            They are of the model's logits, before any of these parameters.
        prompt_logprobs: the same of the prompt's tokens.
        skip_special_tokens: special tokens are no part of the text, nor found by ``stop``.
        structured_outputs: the grammar that holds the output, also as a dict of its fields.

    Every other field that vLLM's class has for its callers is there, and accepted at its default
    alone; None stands for ``output_kind``'s.

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
    logit_bias: Mapping[int, float] | None = None
    allowed_token_ids: Sequence[int] | None = None
    bad_words: Sequence[str] | None = None
    skip_special_tokens: bool = True
    structured_outputs: StructuredOutputsParams | Mapping[str, Any] | None = None
    include_stop_str_in_output: bool = False
    detokenize: bool = True
    spaces_between_special_tokens: bool = True
    truncate_prompt_tokens: int | None = None
    extra_args: dict[str, Any] | None = None
    flat_logprobs: bool = False
    logprob_token_ids: Sequence[int] | None = None
    output_kind: object = None
    prompt_logprob_start: int | None = None
    prompt_logprob_token_ids: Sequence[int] | None = None
    repetition_detection: object = None
    routed_experts_prompt_start: int = 0
    skip_reading_prefix_cache: bool | None = None
    stream_interval: int | None = None
    thinking_token_budget: int | None = None
    trace_decode_token_ids: Sequence[int] | None = None

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
        self._number("presence_penalty", lambda value: -2 <= value <= 2, "in [-2, 2]")
        self._number("frequency_penalty", lambda value: -2 <= value <= 2, "in [-2, 2]")
        self._number("repetition_penalty", lambda value: value > 0, "> 0")
        high = _UINT32_MAX if self.max_tokens is None else self.max_tokens
        self._integer("min_tokens", 0, high, f"an integer >= 0, at most max_tokens={high}")
        for name in ("logprobs", "prompt_logprobs"):
            self._logprobs(name)
        for name in ("ignore_eos", "skip_special_tokens"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidArgumentError(f"{name} must be a bool, not {getattr(self, name)!r}.")
        self._strings("stop")
        self._strings("bad_words")
        self._tokens("stop_token_ids")
        self._tokens("allowed_token_ids")
        if self.allowed_token_ids == ():
            raise InvalidArgumentError("allowed_token_ids is empty; None allows every token.")
        self._biases()
        if self.structured_outputs is not None:
            self._set("structured_outputs", StructuredOutputsParams.of(self.structured_outputs))

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

    def _logprobs(self, name: str) -> None:
        value: Any = getattr(self, name)
        if value is True:  # vLLM's shorthand
            self._set(name, 1)
        elif value == -1 and _is(value, Integral):
            raise UnsupportedError(
                f"{name}=-1, the whole vocabulary, is not supported; ask for at most "
                f"{MAX_LOGPROBS}, or see Engine.logits."
            )
        elif value is not None:
            self._integer(name, 0, MAX_LOGPROBS, f"an integer in 0 .. {MAX_LOGPROBS} or None")

    def _strings(self, name: str) -> None:
        value: Any = getattr(self, name)
        if value is None:
            return
        # A single stop string may be given as it is.
        if isinstance(value, str) and name == "stop":
            value = (value,)
        if not isinstance(value, (list, tuple, set, frozenset)):
            raise InvalidArgumentError(f"{name} must hold strings, and is {value!r}.")
        for string in value:
            # Spaces around a bad word do not count, so one of spaces is empty.
            if not isinstance(string, str) or not (
                string.strip() if name == "bad_words" else string
            ):
                raise InvalidArgumentError(f"{name} must hold non-empty strings, not {string!r}.")
        if not isinstance(getattr(self, name), str):
            self._set(name, tuple(value))

    def _tokens(self, name: str) -> None:
        tokens: Any = getattr(self, name)
        if tokens is None:
            return
        try:
            values = tuple(tokens)
        except TypeError:
            raise InvalidArgumentError(f"{name} must be a list, not {tokens!r}.") from None
        for token in values:
            if not _is(token, Integral) or int(token) < 0:
                raise InvalidArgumentError(f"{name} must hold token ids >= 0, not {token!r}.")
        self._set(name, tuple(int(token) for token in values))

    def _biases(self) -> None:
        biases: Any = self.logit_bias
        if biases is None:
            return
        if not isinstance(biases, Mapping):
            raise InvalidArgumentError(f"logit_bias must be a dict, not {biases!r}.")
        result: dict[int, float] = {}
        for token, bias in biases.items():
            # JSON has no other keys than strings.
            key = int(token) if isinstance(token, str) and token.isdecimal() else token
            if not _is(key, Integral) or int(key) < 0:
                raise InvalidArgumentError(f"logit_bias must have token ids >= 0, not {token!r}.")
            if not _is(bias, Real) or not math.isfinite(bias):
                raise InvalidArgumentError(f"logit_bias must hold finite numbers, not {bias!r}.")
            result[int(key)] = float(min(max(bias, -_MAX_BIAS), _MAX_BIAS))
        self._set("logit_bias", result)
