"""Between Python values and the header's structs; statuses to exceptions."""

from __future__ import annotations

import array
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from vllm_swift_engine.config import SamplingParams
from vllm_swift_engine.errors import (
    InvalidArgumentError,
    InvalidTokenError,
    VLLMSwiftError,
    from_code,
)

from .grammars import NativeGrammar
from .library import Library, load

DEVICES = {"auto": 0, "cpu": 1, "gpu": 2}
KERNELS = {
    "auto": 0,
    "reference": 1,
    "avx2": 2,
    "avx512_vnni": 3,
    "neon": 4,
    "avx512_bf16": 5,
    "neon_bf16": 6,
}
KERNELS_VARIABLE = "VLLM_SWIFT_KERNELS"


class ModelParams(NamedTuple):
    """``vsw_model_params``; hashable, so that equal loads can share one native model."""

    device: int
    kernels: int
    max_model_len: int
    memory_budget: int
    max_num_seqs: int
    max_num_batched_tokens: int
    kv_cache_tokens: int


class Prompt(NamedTuple):
    """One request as it is submitted."""

    tokens: Sequence[int]
    sampling: SamplingParams
    #: >= 1, also where the caller's ``max_tokens`` is None.
    max_tokens: int
    #: The model's own, besides those of ``sampling``.
    eos_token_ids: Sequence[int]
    #: The tokens of each of the ways to spell one of ``sampling.bad_words``.
    bad_words: Sequence[Sequence[int]]
    #: Lower runs earlier.
    priority: int = 0
    #: 0: none.
    timeout_us: int = 0
    #: What each output is held to.
    grammar: NativeGrammar | None = None


def model_params(
    device: str,
    max_model_len: int | None,
    memory_budget: int | float | str | None,
    max_num_seqs: int | None,
    max_num_batched_tokens: int | None,
    kv_cache_tokens: int | None,
) -> ModelParams:
    """Checked parameters; kernels come from VLLM_SWIFT_KERNELS."""
    kernels = os.environ.get(KERNELS_VARIABLE, "auto")
    if kernels not in KERNELS:
        raise InvalidArgumentError(
            f"{KERNELS_VARIABLE} must be one of {', '.join(KERNELS)}, not {kernels!r}."
        )
    if device not in DEVICES:
        raise InvalidArgumentError(f"device must be one of {', '.join(DEVICES)}, not {device!r}.")
    return ModelParams(
        DEVICES[device],
        KERNELS[kernels],
        _limit("max_model_len", max_model_len, 2**32 - 1, "tokens"),
        _limit("memory_budget", _bytes(memory_budget, DEVICES[device]), 2**64 - 1, "bytes"),
        _limit("max_num_seqs", max_num_seqs, 2**32 - 1, "sequences"),
        _limit("max_num_batched_tokens", max_num_batched_tokens, 2**32 - 1, "tokens"),
        _limit("kv_cache_tokens", kv_cache_tokens, 2**31 - 1, "tokens"),
    )


_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS |= {f"{unit}I": 2 ** (10 * power) for power, unit in enumerate("KMGT", 1)}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?", re.IGNORECASE)


def _bytes(budget: int | float | str | None, device: int) -> int | None:
    """A ``memory_budget`` in bytes: a number of them, "8GiB", or a share like 0.5."""
    if isinstance(budget, str):
        size = _SIZE.fullmatch(budget.strip())
        if size is None or size[2].upper() not in _UNITS:
            raise InvalidArgumentError(
                f'memory_budget must be bytes, a size like "8GiB", or a share, not {budget!r}.'
            )
        return int(float(size[1]) * _UNITS[size[2].upper()])
    if isinstance(budget, float):
        if not 0 < budget <= 1:
            raise InvalidArgumentError(
                f"memory_budget as a share must be above 0 and at most 1, not {budget!r}."
            )
        return int(budget * load().lib.vsw_machine_memory(device))
    return budget


def _limit(name: str, value: int | None, high: int, unit: str) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= high:
        raise InvalidArgumentError(f"{name} must be a positive number of {unit}, not {value!r}.")
    return value


def priority_of(value: Any) -> int:
    """A checked priority.

    Raises:
        InvalidArgumentError: it is no integer of 32 bits.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**31) <= value < 2**31:
        raise InvalidArgumentError(f"priority must be an integer of 32 bits, not {value!r}.")
    return value


def timeout_us(seconds: Any) -> int:
    """Microseconds of a timeout, at least 1; 0 for None.

    Raises:
        InvalidArgumentError: it is no finite number above 0.
    """
    if seconds is None:
        return 0
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0:
        raise InvalidArgumentError(f"timeout must be seconds above 0, or None, not {seconds!r}.")
    return max(1, int(min(seconds, 2**40) * 1e6))


def name_of(table: dict[str, int], value: int) -> str:
    """The key of ``value``, or the number itself when a newer library has more of them."""
    return next((name for name, number in table.items() if number == value), str(value))


def sized(library: Library, struct: str) -> Any:
    """A zeroed struct with ``struct_size`` set."""
    value = library.ffi.new(f"{struct} *")
    value.struct_size = library.ffi.sizeof(struct)
    return value


def check(library: Library, status: int, error: Any) -> None:
    """Raises the exception of a failed call."""
    if status:
        raise error_from(library, status, error)


def error_from(library: Library, status: int, error: Any) -> VLLMSwiftError:
    """The exception for a status and the ``vsw_error`` that came with it."""
    message = library.ffi.string(error.message).decode("utf-8", "replace")
    return from_code(status, message or f"The native call failed with code {status}.")


def int32_array(tokens: Iterable[int]) -> array.array[int]:
    """Token ids as C's int32.

    Raises:
        InvalidArgumentError: something in it is no integer.
        InvalidTokenError: an id does not fit into 32 bits.
    """
    ids = array.array("i")
    for token in tokens:
        try:
            ids.append(token)
        except TypeError:
            raise InvalidArgumentError(f"Token ids must be integers, not {token!r}.") from None
        except OverflowError:
            raise InvalidTokenError(f"{token} is not a token id.") from None
    return ids


def submit_params(library: Library, prompts: Sequence[Prompt]) -> tuple[Any, list[Any]]:
    """``vsw_submit_params[len(prompts)]`` and what must outlive the call."""
    ffi, _ = library
    params = ffi.new("vsw_submit_params[]", len(prompts))
    kept: list[Any] = []
    for target, prompt in zip(params, prompts, strict=True):
        tokens = ffi.from_buffer("int32_t[]", int32_array(prompt.tokens))
        target.struct_size = ffi.sizeof("vsw_submit_params")
        target.tokens = tokens
        target.token_count = len(tokens)
        sampling = sampling_params(library, prompt, kept)
        target.sampling = sampling
        target.priority = prompt.priority
        target.timeout_us = prompt.timeout_us
        if prompt.grammar is not None:
            target.grammar = prompt.grammar.handle
        kept += (tokens, sampling)
    return params, kept


_SAME_NAMES = (
    *("n", "min_tokens", "temperature", "top_p", "top_k", "min_p"),
    *("presence_penalty", "frequency_penalty", "repetition_penalty", "ignore_eos"),
)


def sampling_params(library: Library, prompt: Prompt, kept: list[Any]) -> Any:
    """``vsw_sampling_params``; what it points to is added to ``kept``."""
    ffi, lib = library
    sampling = sized(library, "vsw_sampling_params")
    lib.vsw_sampling_params_default(sampling)
    source = prompt.sampling
    sampling.max_tokens = prompt.max_tokens
    for name in _SAME_NAMES:
        setattr(sampling, name, getattr(source, name))
    if source.logprobs is not None:
        sampling.logprobs = source.logprobs
    if source.prompt_logprobs is not None:
        sampling.prompt_logprobs = source.prompt_logprobs
    if source.seed is not None and source.seed != -1:
        sampling.has_seed = 1
        sampling.seed = source.seed

    def tokens(field: str, values: Iterable[int]) -> None:
        ids = int32_array(values)
        if ids:
            kept.append(ffi.from_buffer("int32_t[]", ids))
            setattr(sampling, field, kept[-1])

    tokens("stop_token_ids", source.stop_token_ids or ())
    sampling.stop_token_count = len(source.stop_token_ids or ())
    tokens("eos_token_ids", prompt.eos_token_ids)
    sampling.eos_token_count = len(prompt.eos_token_ids)
    tokens("allowed_token_ids", source.allowed_token_ids or ())
    sampling.allowed_token_count = len(source.allowed_token_ids or ())
    if source.logit_bias:
        tokens("logit_bias_ids", source.logit_bias)
        kept.append(ffi.new("float[]", [*source.logit_bias.values()]))
        sampling.logit_bias_values = kept[-1]
        sampling.logit_bias_count = len(source.logit_bias)
    if prompt.bad_words:
        tokens("bad_word_tokens", (token for word in prompt.bad_words for token in word))
        kept.append(ffi.new("uint32_t[]", [len(word) for word in prompt.bad_words]))
        sampling.bad_word_lengths = kept[-1]
        sampling.bad_word_count = len(prompt.bad_words)
    return sampling
