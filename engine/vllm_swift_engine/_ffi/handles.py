"""Owners of native handles: an open model file and a loaded model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vllm_swift_engine.errors import EngineAsleepError, InvalidArgumentError
from vllm_swift_engine.outputs import ModelInfo

from .convert import DEVICES, KERNELS, ModelParams, check, int32_array, name_of, sized
from .grammars import KINDS, NativeGrammar, Vocabulary, native_vocabulary
from .library import load
from .llguidance import find_llguidance
from .runtime import Runtime


class NativeFile:
    """``vsw_model_file``: a model's headers, checked; its weights, mapped.

    Raises:
        ModelNotFoundError, ModelCorruptError, UnsupportedArchitectureError,
        UnsupportedQuantizationError: the file cannot be used; the sentence says why.
    """

    def __init__(self, path: Path) -> None:
        self._library = load()
        ffi, lib = self._library
        handle, error = ffi.new("vsw_model_file **"), ffi.new("vsw_error *")
        name = os.fsencode(path)
        if b"\0" in name:
            raise InvalidArgumentError(f"A path has no NUL character: {path!r}.")
        check(self._library, lib.vsw_model_file_open(name, handle, error), error)
        self.handle: Any = handle[0]

    def json(self, section: str) -> bytes:
        """One section of the metadata, as UTF-8 JSON."""
        ffi, lib = self._library
        text, size, error = ffi.new("char **"), ffi.new("size_t *"), ffi.new("vsw_error *")
        status = lib.vsw_model_file_json(self.handle, section.encode(), text, size, error)
        check(self._library, status, error)
        return bytes(ffi.buffer(text[0], size[0]))

    def close(self) -> None:
        """Unmaps the file. Harmless when done twice."""
        handle, self.handle = self.handle, self._library.ffi.NULL
        self._library.lib.vsw_model_file_close(handle)


class NativePrefix:
    """``vsw_prefix``: keys and values that stay in a model's cache."""

    def __init__(self, runtime: Runtime, handle: Any) -> None:
        self._runtime = runtime
        self._library = runtime.library
        self._handle = handle
        ffi, lib = self._library
        info, error = sized(self._library, "vsw_prefix_info"), ffi.new("vsw_error *")
        check(self._library, lib.vsw_prefix_get_info(handle, info, error), error)
        self.token_count: int = info.token_count
        self._bytes: int = info.bytes

    def read(self) -> bytearray:
        """Its contents."""
        self._runtime.require_usable()
        ffi, lib = self._library
        contents, error = bytearray(self._bytes), ffi.new("vsw_error *")
        data = ffi.from_buffer(contents, require_writable=True)
        check(self._library, lib.vsw_prefix_read(self._handle, data, len(contents), error), error)
        return contents

    def destroy(self) -> None:
        """Lets go of it. Harmless when done twice."""
        if self._runtime.forked:
            return
        handle, self._handle = self._handle, self._library.ffi.NULL
        self._library.lib.vsw_prefix_destroy(handle)


class NativeModel:
    """``vsw_model``: weights in memory, ready for requests. Blocks while it loads."""

    def __init__(self, runtime: Runtime, file: NativeFile, params: ModelParams) -> None:
        self.runtime = runtime
        self._library = runtime.library
        self._params = params
        self._handle: Any = self._library.ffi.NULL
        self.has_vocabulary = False
        self.load(file)

    def load(self, file: NativeFile) -> None:
        """Reads the weights, at first and after ``destroy``."""
        self.runtime.require_usable()
        ffi, lib = self._library
        native = sized(self._library, "vsw_model_params")
        for name, value in self._params._asdict().items():
            setattr(native, name, value)
        handle, error = ffi.new("vsw_model **"), ffi.new("vsw_error *")
        status = lib.vsw_model_load(self.runtime.handle, file.handle, native, handle, error)
        check(self._library, status, error)
        self._handle = handle[0]
        self.has_vocabulary = False

    @property
    def is_loaded(self) -> bool:
        """Whether its weights are in memory."""
        return bool(self._handle)

    @property
    def handle(self) -> Any:
        """The native handle; raises EngineAsleepError while the weights are not in memory."""
        if not self._handle:
            raise EngineAsleepError("The engine's model is asleep. Call wake() first.")
        return self._handle

    def info(self, model: str, architecture: str) -> ModelInfo:
        """What was loaded and where it runs."""
        ffi, lib = self._library
        info, error = sized(self._library, "vsw_model_info"), ffi.new("vsw_error *")
        check(self._library, lib.vsw_model_get_info(self.handle, info, error), error)
        return ModelInfo(
            model=model,
            architecture=architecture,
            vocab_size=info.vocab_size,
            max_model_len=info.max_model_len,
            hidden_size=info.hidden_size,
            device="gpu" if name_of(DEVICES, info.device) == "gpu" else "cpu",
            kernels=name_of(KERNELS, info.kernels),
            kernels_note=ffi.string(info.kernels_note).decode(errors="replace"),
            weight_bytes=info.weight_bytes,
            kv_bytes=info.kv_bytes,
            kv_block_tokens=info.kv_block_tokens,
            kv_blocks=info.kv_blocks,
        )

    def logits(self, tokens: list[int], vocab_size: int) -> memoryview[float]:
        """float32 [len(tokens), vocab_size]."""
        self.runtime.require_usable()
        ffi, lib = self._library
        ids = ffi.from_buffer("int32_t[]", int32_array(tokens))
        # Not cleared: that would hold the GIL for longer than a stream's reader may wait.
        allocate = ffi.new_allocator(should_clear_after_alloc=False)
        floats = allocate("float[]", len(tokens) * vocab_size)
        error = ffi.new("vsw_error *")
        status = lib.vsw_model_logits(self.handle, ids, len(ids), floats, len(floats), error)
        check(self._library, status, error)
        return memoryview(ffi.buffer(floats)).cast("f", (len(tokens), vocab_size))

    def pin_prefix(self, tokens: Sequence[int]) -> NativePrefix:
        """Keeps the longest beginning of ``tokens`` that the model has computed."""
        ids = self._library.ffi.from_buffer("int32_t[]", int32_array(tokens))
        return self._prefix(self._library.lib.vsw_prefix_pin, ids, len(ids))

    def load_prefix(self, tokens: Sequence[int], contents: memoryview) -> NativePrefix:
        """Keeps a prefix of whole blocks with contents that ``NativePrefix.read`` gave."""
        ffi, lib = self._library
        ids, data = ffi.from_buffer("int32_t[]", int32_array(tokens)), ffi.from_buffer(contents)
        return self._prefix(lib.vsw_prefix_load, ids, len(ids), data, len(contents))

    def _prefix(self, make: Any, *arguments: Any) -> NativePrefix:
        self.runtime.require_usable()
        ffi = self._library.ffi
        handle, error = ffi.new("vsw_prefix **"), ffi.new("vsw_error *")
        check(self._library, make(self.handle, *arguments, handle, error), error)
        return NativePrefix(self.runtime, handle[0])

    def set_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Tells what the tokens are, before the first grammar.

        Raises:
            GrammarLibraryError: llguidance is missing, or of another version.
        """
        path = os.fsencode(find_llguidance())
        native, kept = native_vocabulary(self._library, vocabulary, path)
        ffi, lib = self._library
        error = ffi.new("vsw_error *")
        check(self._library, lib.vsw_model_set_vocabulary(self.handle, native, error), error)
        del kept
        self.has_vocabulary = True

    def compile_grammar(self, kind: str, text: str) -> NativeGrammar:
        """Compiles a grammar, or finds it compiled.

        Raises:
            InvalidGrammarError: it cannot be read.
            GrammarTooComplexError: it takes too much to compile.
        """
        self.runtime.require_usable()
        ffi, lib = self._library
        data = ffi.from_buffer("char[]", text.encode())
        handle, error = ffi.new("vsw_grammar **"), ffi.new("vsw_error *")
        status = lib.vsw_grammar_compile(self.handle, KINDS[kind], data, len(data), handle, error)
        check(self._library, status, error)
        return NativeGrammar(self._library, handle[0])

    def destroy(self) -> None:
        """Frees the model's memory; its requests end with EngineClosedError."""
        if self.runtime.forked:
            return
        handle, self._handle = self._handle, self._library.ffi.NULL
        self._library.lib.vsw_model_destroy(handle)
