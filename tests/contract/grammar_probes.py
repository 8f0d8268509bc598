"""Misuse of grammars and vocabularies: python -m tests.contract.grammar_probes NAME."""

from __future__ import annotations

import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.contract.probes import (
    bad_handles,
    ffi,
    lib,
    loaded_model,
    made,
    refuse,
    sampling,
    sized,
    submission,
)
from vllm_swift_engine._ffi.llguidance import find_llguidance

END = 0
PATH = ffi.new("char[]", os.fsencode(find_llguidance()))


def vocabulary(**fields: Any) -> tuple[Any, list[Any]]:
    """One token for each byte after an end token, and what points there, which has to be kept."""
    lengths = ffi.new("uint32_t[]", [4, *[1] * 256])
    kept = [lengths, ffi.new("uint8_t[]", b"\xffend" + bytes(range(256)))]
    ends, atoms = ffi.new("int32_t[]", [END]), ffi.new("int32_t[]", [*range(1, 257)])
    values = {
        "token_count": len(lengths),
        "token_lengths": lengths,
        "token_bytes": kept[1],
        "eos_token_ids": ends,
        "eos_token_count": 1,
        "atoms": atoms,
        "atom_count": len(atoms),
        "library": PATH,
        **fields,
    }
    return sized("vsw_vocabulary", **values), [kept, values]


def set_vocabulary(model: Any) -> None:
    native, kept = vocabulary()
    assert lib.vsw_model_set_vocabulary(model, native, ffi.NULL) == lib.VSW_OK
    del kept


def compiled(model: Any, text: bytes = b"a+", kind: int = lib.VSW_GRAMMAR_REGEX) -> Any:
    return made(lib.vsw_grammar_compile, "vsw_grammar", model, kind, text, len(text))


def bad_grammar_handles() -> None:
    invalid, requests = lib.VSW_ERROR_INVALID_HANDLE, ffi.new("vsw_request[1]")
    out = ffi.new("vsw_grammar **")
    with loaded_model() as (_, model):
        set_vocabulary(model)
        stale, kept = compiled(model), None
        lib.vsw_grammar_destroy(stale)
        for grammar in bad_handles("vsw_grammar", stale):
            lib.vsw_grammar_destroy(grammar)
            if grammar:
                params, kept = submission(grammar=grammar)
                refuse(invalid, lib.vsw_submit, model, params, 1, requests)
        grammar = compiled(model)
        with loaded_model() as (_, other):
            params, kept = submission(grammar=grammar)
            refuse(lib.VSW_ERROR_INVALID_ARGUMENT, lib.vsw_submit, other, params, 1, requests)
            set_vocabulary(other)
        native, kept = vocabulary()
        for gone in bad_handles("vsw_model", other):
            refuse(invalid, lib.vsw_model_set_vocabulary, gone, native)
            refuse(invalid, lib.vsw_grammar_compile, gone, 1, b"a", 1, out)
    # It outlives its model, and does nothing.
    lib.vsw_grammar_destroy(grammar)
    del kept


def bad_vocabularies() -> None:
    invalid, token = lib.VSW_ERROR_INVALID_ARGUMENT, lib.VSW_ERROR_INVALID_TOKEN
    library = lib.VSW_ERROR_GRAMMAR_LIBRARY
    outside, null = ffi.new("int32_t[]", [257] * 3), ffi.NULL
    many = 1 << 20
    lengths = ffi.new("uint32_t[]", many)
    cases: list[tuple[int, dict[str, Any]]] = [
        *((invalid, {"struct_size": short}) for short in (0, 3, ffi.sizeof("vsw_vocabulary") - 1)),
        *((invalid, {name: null}) for name in ("token_lengths", "token_bytes", "library", "atoms")),
        (invalid, {"eos_token_ids": null}),
        (invalid, {"eos_token_count": 0}),
        (invalid, {"token_count": 0, "atom_count": 0, "eos_token_count": 0}),
        (invalid, {"token_count": many, "token_lengths": lengths}),
        (invalid, {"merge_count": 2**63}),
        (invalid, {"merge_count": 1}),
        (token, {"eos_token_ids": ffi.new("int32_t[]", [2**31 - 1])}),
        (token, {"eos_token_ids": ffi.new("int32_t[]", [-1])}),
        (token, {"atoms": outside, "atom_count": 1}),
        (token, {"merges": outside, "merge_count": 1}),
        (library, {"library": ffi.new("char[]", b"/nowhere")}),
        (library, {"library": ffi.new("char[]", os.fsencode(os.__file__))}),
    ]
    with loaded_model() as (_, model):
        refuse(invalid, lib.vsw_model_set_vocabulary, model, null)
        for code, fields in cases:
            native, kept = vocabulary(**fields)
            refuse(code, lib.vsw_model_set_vocabulary, model, native)
            del kept


def bad_grammars() -> None:
    out, schema = ffi.new("vsw_grammar **"), lib.VSW_GRAMMAR_JSON_SCHEMA
    bad, lark = lib.VSW_ERROR_INVALID_GRAMMAR, lib.VSW_GRAMMAR_LARK
    with loaded_model() as (_, model):
        compile_ = lib.vsw_grammar_compile
        invalid = lib.VSW_ERROR_INVALID_ARGUMENT
        refuse(invalid, compile_, model, lark, b"start: /a/", 10, out)  # no vocabulary
        set_vocabulary(model)
        refuse(invalid, compile_, model, 3, b"a", 1, out)
        refuse(invalid, compile_, model, -1, b"a", 1, out)
        refuse(invalid, compile_, model, schema, ffi.NULL, 4, out)
        refuse(invalid, compile_, model, schema, b"true", 4, ffi.NULL)
        for text in (b"\xff", b"start: /a\0b/", b"start: x", b"start: /(/", b"nonsense"):
            refuse(bad, compile_, model, lark, text, len(text), out)
        for text in (b"", b"[", b'{"type": "sometimes"}', b"{" * 90):
            refuse(bad, compile_, model, schema, text, len(text), out)


def long_chains_of_names() -> None:
    """llguidance follows them by recursion; this thread has little stack."""
    links = range(15_000)
    rules = "\n".join(f"r{i}: r{i + 1}" for i in links)
    schemas = {f"r{i}": {"$ref": f"#/$defs/r{i + 1}"} for i in links}
    last = f"r{len(links)}"
    schema = {"$ref": "#/$defs/r0", "$defs": {**schemas, last: {"type": "null"}}}
    chains = [
        (lib.VSW_GRAMMAR_LARK, f'start: r0\n{rules}\n{last}: "a"\n'),
        (lib.VSW_GRAMMAR_LARK, f'start: R0\n{rules.upper()}\n{last.upper()}: "a"\n'),
        (lib.VSW_GRAMMAR_JSON_SCHEMA, json.dumps(schema)),
    ]
    threading.stack_size(256 << 10)
    with loaded_model() as (_, model), ThreadPoolExecutor(1) as small:
        set_vocabulary(model)
        for kind, text in chains:
            assert small.submit(compiled, model, text.encode(), kind).result()


def a_dead_end_fails_its_request_alone() -> None:
    """Of a vocabulary without the character that has to come."""
    with loaded_model() as (runtime, model):
        lengths = ffi.new("uint32_t[]", [4, 1])
        native, kept = vocabulary(
            token_count=2,
            token_lengths=lengths,
            token_bytes=ffi.new("uint8_t[]", b"\xffenda"),
            atom_count=0,
        )
        assert lib.vsw_model_set_vocabulary(model, native, ffi.NULL) == lib.VSW_OK
        requests, finishes = ffi.new("vsw_request[2]"), {}
        for index, fields in enumerate(({"grammar": compiled(model, b"ab")}, {})):
            params, more = submission(sampling=sampling(temperature=0), **fields)
            assert lib.vsw_submit(model, params, 1, requests + index, ffi.NULL) == lib.VSW_OK
            del more
        buffers = sized("vsw_poll_buffers", event_capacity=8, token_capacity=64)
        buffers.events, buffers.tokens = events, tokens = (
            ffi.new("vsw_event[8]"),
            ffi.new("int32_t[64]"),
        )
        while len(finishes) < 2:
            assert lib.vsw_poll(runtime, buffers, -1, ffi.NULL) == lib.VSW_OK
            for event in events[0 : buffers.event_count]:
                if event.finish_reason:
                    finishes[event.request] = event.finish_reason
        assert finishes[requests[0]] == lib.VSW_FINISH_ERROR
        assert finishes[requests[1]] == lib.VSW_FINISH_LENGTH
        info = sized("vsw_request_info")
        assert lib.vsw_request_get_info(runtime, requests[0], info, ffi.NULL) == lib.VSW_OK
        assert info.error.code == lib.VSW_ERROR_INVALID_GRAMMAR
        del kept, tokens


if __name__ == "__main__":
    globals()[sys.argv[1]]()
