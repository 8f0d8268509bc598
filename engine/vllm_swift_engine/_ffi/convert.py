"""Between Python values and the header's structs; statuses to exceptions."""

from __future__ import annotations

import array
import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from vllm_swift_engine.config import SamplingParams
from vllm_swift_engine.errors import (
    InvalidArgumentError,
    InvalidTokenError,
    VLLMSwiftError,
    from_code,
)

from .library import Library

DEVICES = {"auto": 0, "cpu": 1, "gpu": 2}
KERNELS = {"auto": 0, "reference": 1, "avx2": 2, "avx512_vnni": 3, "neon": 4}
KERNELS_VARIABLE = "VLLM_SWIFT_KERNELS"


class ModelParams(NamedTuple):
    """``vsw_model_params``; hashable, so that equal loads can share one native model."""

    device: int
    kernels: int
    max_model_len: int
    memory_budget: int
    max_num_seqs: int
    max_num_batched_tokens: int


class Prompt(NamedTuple):
    """One request as it is submitted."""

    tokens: Sequence[int]
    sampling: SamplingParams
    #: >= 1, also where the caller's ``max_tokens`` is None.
    max_tokens: int
    #: The caller's and the model's own.
    stop_token_ids: Sequence[int]
    #: Lower runs earlier.
    priority: int = 0
    #: 0: none.
    timeout_us: int = 0


def model_params(
    device: str,
    max_model_len: int | None,
    memory_budget: int | None,
    max_num_seqs: int | None,
    max_num_batched_tokens: int | None,
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
        _limit("memory_budget", memory_budget, 2**64 - 1, "bytes"),
        _limit("max_num_seqs", max_num_seqs, 2**32 - 1, "sequences"),
        _limit("max_num_batched_tokens", max_num_batched_tokens, 2**32 - 1, "tokens"),
    )


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
    ffi, lib = library
    params = ffi.new("vsw_submit_params[]", len(prompts))
    kept: list[Any] = []
    for target, prompt in zip(params, prompts, strict=True):
        tokens = ffi.from_buffer("int32_t[]", int32_array(prompt.tokens))
        stops = ffi.from_buffer("int32_t[]", int32_array(prompt.stop_token_ids))
        sampling = sized(library, "vsw_sampling_params")
        lib.vsw_sampling_params_default(sampling)
        source = prompt.sampling
        sampling.n = source.n
        sampling.max_tokens = prompt.max_tokens
        sampling.temperature = source.temperature
        sampling.top_p = source.top_p
        sampling.top_k = source.top_k
        sampling.min_p = source.min_p
        if source.seed is not None and source.seed != -1:
            sampling.has_seed = 1
            sampling.seed = source.seed
        if len(stops):
            sampling.stop_token_ids = stops
            sampling.stop_token_count = len(stops)
        target.struct_size = ffi.sizeof("vsw_submit_params")
        target.tokens = tokens
        target.token_count = len(tokens)
        target.sampling = sampling
        target.priority = prompt.priority
        target.timeout_us = prompt.timeout_us
        kept += (tokens, stops, sampling)
    return params, kept
