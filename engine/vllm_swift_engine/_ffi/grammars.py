"""Owners of compiled grammars, and what a model's vocabulary is to them."""

from __future__ import annotations

import array
from collections.abc import Sequence
from typing import Any, NamedTuple

from .library import Library

KINDS = {"json_schema": 0, "regex": 1, "lark": 2}


class Vocabulary(NamedTuple):
    """A tokenizer as ``vsw_vocabulary`` has it."""

    #: Of each token in order; 0xFF and the name of a special one.
    token_bytes: Sequence[bytes]
    eos_token_ids: Sequence[int]
    #: The tokens that byte-pair encoding starts from, and its merges: left, right, result. Without
    #: atoms no token is forced.
    atoms: Sequence[int]
    merges: Sequence[tuple[int, int, int]]


class NativeGrammar:
    """``vsw_grammar``; destroyed with its last reference. Requests keep what they need."""

    def __init__(self, library: Library, handle: Any) -> None:
        self._library = library
        self.handle = handle

    def __del__(self) -> None:
        self._library.lib.vsw_grammar_destroy(self.handle)


def native_vocabulary(
    library: Library, vocabulary: Vocabulary, path: bytes
) -> tuple[Any, list[Any]]:
    """``vsw_vocabulary`` and what must outlive the call."""
    ffi = library.ffi
    lengths = array.array("I", map(len, vocabulary.token_bytes))
    merges = array.array("i", [token for merge in vocabulary.merges for token in merge])
    kept = [
        ffi.from_buffer("uint32_t[]", lengths),
        ffi.from_buffer("uint8_t[]", b"".join(vocabulary.token_bytes)),
        ffi.new("int32_t[]", vocabulary.eos_token_ids),
        ffi.new("int32_t[]", vocabulary.atoms),
        ffi.from_buffer("int32_t[]", merges),
        ffi.from_buffer("char[]", path + b"\0"),
    ]
    native = ffi.new("vsw_vocabulary *")
    native.struct_size = ffi.sizeof("vsw_vocabulary")
    native.token_count = len(lengths)
    native.token_lengths, native.token_bytes, native.eos_token_ids = kept[:3]
    native.eos_token_count = len(vocabulary.eos_token_ids)
    native.atoms, native.merges, native.library = kept[3:]
    native.atom_count, native.merge_count = len(vocabulary.atoms), len(vocabulary.merges)
    return native, kept
