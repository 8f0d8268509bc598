"""Loaded models, one of a kind for all engines of a process that ask for the same."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Hashable
from pathlib import Path

from vllm_swift_engine._ffi.convert import ModelParams
from vllm_swift_engine._ffi.grammars import NativeGrammar
from vllm_swift_engine._ffi.handles import NativeFile, NativeModel
from vllm_swift_engine._ffi.runtime import runtime
from vllm_swift_engine.errors import ModelCorruptError
from vllm_swift_engine.grammar import GrammarSource
from vllm_swift_engine.outputs import ModelInfo

from .file import FileIdentity, ModelFile, model_identity
from .template import ChatTemplate, load_template
from .tokenizer import Tokenizer, load_tokenizer


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """Everything an engine needs of a model."""

    path: Path
    native: NativeModel
    info: ModelInfo
    tokenizer: Tokenizer
    template: ChatTemplate

    identity: tuple[FileIdentity, ...]
    _waking: threading.Lock = dataclasses.field(
        default_factory=threading.Lock, init=False, repr=False, compare=False
    )

    def grammar(self, source: GrammarSource) -> NativeGrammar:
        """A grammar, compiled for the model's tokens.

        Raises:
            InvalidGrammarError: it cannot be read.
            GrammarTooComplexError: it takes too much to compile.
            GrammarLibraryError: llguidance is missing, or of another version.
            UnsupportedError: the model names no token that ends an output.
        """
        with self._waking:
            if not self.native.has_vocabulary:
                self.native.set_vocabulary(self.tokenizer.vocabulary(self.info.vocab_size))
        return self.native.compile_grammar(source.kind, source.text)

    def sleep(self) -> None:
        """Frees the weights and the KV cache; requests that run end with EngineClosedError."""
        with self._waking:
            self.native.destroy()

    def wake(self) -> None:
        """Loads again what ``sleep`` freed. Does nothing when awake.

        Raises:
            ModelCorruptError: the model's files are others than before.
            ModelError, MemoryBudgetError: as when it was first loaded.
        """
        with self._waking:
            if self.native.is_loaded:
                return
            if model_identity(self.path) != self.identity:
                raise ModelCorruptError(
                    f"{self.path} has changed while the engine slept. Open a new Engine."
                )
            with ModelFile(self.path) as file:
                self.native.load(file.native)


class _Entry:
    def __init__(self) -> None:
        self.users = 0
        self.loading = threading.Lock()
        self.model: LoadedModel | None = None


class Lease:
    """One engine's share in a loaded model. The last one to return it frees the model."""

    def __init__(self, key: Hashable, model: LoadedModel) -> None:
        self.model = model
        self._key = key
        self._lock = threading.RLock()
        self._returned = False

    def release(self) -> None:
        """Gives the share back. Harmless when done twice."""
        if self.model.native.runtime.forked:
            return
        with self._lock:
            if self._returned:
                return
            self._returned = True
        _leave(self._key)


# Reentrant: the collector may close an engine while this thread holds it.
_lock = threading.RLock()
_entries: dict[Hashable, _Entry] = {}
_unshared = itertools.count()


def lease_model(path: Path, name: str, params: ModelParams, share: bool) -> Lease:
    """A share in the model at ``path``, which is loaded unless an equal one is there.

    Models are equal when their files (path, size, time of change) and ``params`` are.
    """
    runtime()  # Before any lock: a forked child may have copied them locked.
    key: Hashable = (model_identity(path), params, None if share else next(_unshared))
    with _lock:
        entry = _entries.setdefault(key, _Entry())
        entry.users += 1
    try:
        with entry.loading:
            if entry.model is None:
                entry.model = _load(path, name, params)
            return Lease(key, entry.model)
    except BaseException:
        _leave(key)
        raise


def _leave(key: Hashable) -> None:
    with _lock:
        entry = _entries[key]
        entry.users -= 1
        if entry.users:
            return
        del _entries[key]
    if entry.model is not None:
        entry.model.native.destroy()


class _Loading:
    """Weights being loaded in a thread, while this one reads the tokenizer.

    Not the other way round: what a thread other than the first one allocates in passing stays with
    the process.
    """

    def __init__(self, file: NativeFile, params: ModelParams) -> None:
        self._arguments = runtime(), file, params
        self._result: NativeModel | BaseException | None = None
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._load, name="vllm-swift weights")

    def start(self) -> None:
        """Begins; an interrupt in here is one to ``abandon`` it after."""
        self._thread.start()
        # Parsing holds the GIL; loading lets go of it, but has to have it first.
        self._begun.wait()

    def _load(self) -> None:
        self._begun.set()
        try:
            self._result = NativeModel(*self._arguments)
        except BaseException as error:
            self._result = error

    def result(self) -> NativeModel:
        """Waits for it; raises what ``NativeModel`` raised."""
        self._thread.join()
        if not isinstance(self._result, NativeModel):
            assert self._result is not None
            raise self._result
        return self._result

    def abandon(self) -> None:
        """Waits for its end, if it has begun, and gives back what was loaded."""
        if self._thread.ident is not None:
            self._thread.join()
        if isinstance(self._result, NativeModel):
            self._result.destroy()


def _load(path: Path, name: str, params: ModelParams) -> LoadedModel:
    with ModelFile(path) as file:
        loading = _Loading(file.native, params)
        try:
            loading.start()
            tokenizer = load_tokenizer(file)
            template = load_template(path, tokenizer.config)
            native = loading.result()
            info = native.info(name, str(file.config.get("model_type", "")))
        except BaseException:
            loading.abandon()
            raise
    if info.kernels_note:
        _warn_slow(name, info.kernels_note)
    return LoadedModel(path, native, info, tokenizer, template, model_identity(path))


def _warn_slow(name: str, why: str) -> None:
    import logging

    logging.getLogger(__name__).warning(
        "%s runs on stock MLX ops, many times slower than on kernels of its own: %s.", name, why
    )
