"""The metadata of a model file, as the native reader gives it."""

from __future__ import annotations

import json
import os
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from vllm_swift_engine._ffi.handles import NativeFile


class FileIdentity(NamedTuple):
    """Tells one state of a file from another without reading it."""

    path: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> FileIdentity:
        """The identity of the file at ``path``, links resolved."""
        real = os.path.realpath(path)
        status = os.stat(real)
        return cls(real, status.st_size, status.st_mtime_ns)


class ModelFile:
    """A .gguf file, or a folder with ``config.json`` and ``*.safetensors``.

    Sections are parsed when first asked for: the config of a GGUF costs nothing of its tokenizer.

    Raises:
        ModelNotFoundError, ModelCorruptError, UnsupportedArchitectureError,
        UnsupportedQuantizationError: the file cannot be used; the sentence says why.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.native = NativeFile(path)

    @property
    def is_gguf(self) -> bool:
        """Whether the metadata came in the file and not as JSON beside it."""
        return not self.path.is_dir()

    @cached_property
    def config(self) -> dict[str, Any]:
        """Hyperparameters under Hugging Face's ``config.json`` keys."""
        return self._section("config") or {}

    @cached_property
    def tokenizer(self) -> dict[str, Any]:
        """GGUF's ``tokenizer.ggml.*`` keys without their prefix; empty for a folder."""
        return self._section("tokenizer") or {}

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """GGUF's other keys, as in the file; empty for a folder."""
        return self._section("metadata") or {}

    @cached_property
    def tensors(self) -> list[dict[str, Any]]:
        """``{"name", "shape", "format", "bytes"}`` of every tensor."""
        return self._section("tensors") or []

    def _section(self, name: str) -> Any:
        return json.loads(self.native.json(name))

    def close(self) -> None:
        """Unmaps the file. Harmless when done twice."""
        self.native.close()

    def __enter__(self) -> ModelFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def model_identity(path: Path) -> tuple[FileIdentity, ...]:
    """The identities of all files a model is made of."""
    return tuple(FileIdentity.of(part) for part in _parts(path, "*.json", "*.jinja"))


def fingerprint(path: Path) -> str:
    """Tells one model's weights from another's, wherever they lie: a digest of all its files.

    Reads them whole, at about 1 GB a second.
    """
    import hashlib

    digest = hashlib.sha256()
    for part in _parts(path, "config.json"):
        with part.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _parts(path: Path, *beside_weights: str) -> list[Path]:
    if not path.is_dir():
        return [path]
    patterns = ("*.safetensors", *beside_weights)
    return sorted(part for pattern in patterns for part in path.glob(pattern))
