"""Prompts' beginnings that stay computed, in memory and in files."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .errors import PrefixFileError
from .models.file import fingerprint

if TYPE_CHECKING:
    from ._ffi.handles import NativePrefix
    from .engine import Engine

_MAGIC = b"vllm-swift prefix 1\n"


class Prefix:
    """A beginning of prompts whose keys and values stay in the engine's cache.

    Requests that begin alike share what was computed anyway, for as long as there is room; a prefix
    keeps it until ``close``, the end of a ``with`` block, or until it is dropped.

    >>> with engine.prefix(long_text) as prefix:  # doctest: +SKIP
    ...     engine.generate(prefix + "What is it about?")

    Attributes:
        token_ids: the tokens it was made of.
        cached_tokens: how many of them are kept: whole blocks of the cache. The rest, less than a
            block, is computed by each request.
    """

    def __init__(self, engine: Engine, native: NativePrefix, token_ids: Sequence[int]) -> None:
        self.token_ids = list(token_ids)
        self.cached_tokens = native.token_count
        self._engine = engine
        self._native = native
        self._finalizer = weakref.finalize(self, native.destroy)

    def __add__(self, continuation: str | Sequence[int]) -> list[int]:
        """A prompt that begins with the prefix: a text, or token ids, added to it."""
        if isinstance(continuation, str):
            continuation = self._engine.tokenize(continuation, add_special_tokens=False)
        return [*self.token_ids, *continuation]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes it to a file, for ``Engine.load_prefix`` in this process or another.

        The file takes the place of one that is there once it is whole.

        Raises:
            EngineClosedError: the prefix or its engine is closed.
            UnsupportedError: the model runs on stock MLX ops.
            OSError: the file cannot be written.
        """
        contents = self._native.read()
        header = {"tokens": self.token_ids, "bytes": len(contents), **self._engine.prefix_identity}
        body = json.dumps(header).encode() + b"\n"
        path = Path(path)
        fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
        try:
            with fresh.open("wb") as file:
                file.write(_MAGIC + _digest(body, contents) + body)
                file.write(contents)
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)

    def close(self) -> None:
        """Lets the cache use its blocks for something else. Idempotent."""
        self._finalizer()

    def __enter__(self) -> Prefix:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def prefix_identity(path: Path, kernels: str, block_tokens: int) -> dict[str, Any]:
    """What the contents of a prefix mean something to: weights, kernels, and form of the cache."""
    return {"model": fingerprint(path), "kernels": kernels, "block_tokens": block_tokens}


def read_prefix(
    path: str | os.PathLike[str], identity: dict[str, Any]
) -> tuple[list[int], memoryview]:
    """The tokens and the contents of a file that ``Prefix.save`` wrote.

    Raises:
        PrefixFileError: it is no such file, damaged, or of another model, revision or cache format.
    """
    content = Path(path).read_bytes()
    digest_end = len(_MAGIC) + 65
    body_end = content.find(b"\n", digest_end) + 1
    if not content.startswith(_MAGIC) or not body_end:
        raise PrefixFileError(f"{path} is no saved prefix, or the beginning of one.")
    body, contents = content[digest_end:body_end], memoryview(content)[body_end:]
    if content[len(_MAGIC) : digest_end] != _digest(body, contents):
        raise PrefixFileError(f"{path} is damaged: its checksum is another. Save it again.")
    header = json.loads(body)
    for name, wanted in identity.items():
        if header[name] != wanted:
            raise PrefixFileError(
                f"{path} was saved with another {_MEANING[name]}: {header[name]!r}, and this "
                f"engine has {wanted!r}. Compute the prefix again."
            )
    return header["tokens"], contents


_MEANING = {
    "model": "model, or another revision of it",
    "kernels": "set of kernels",
    "block_tokens": "size of the cache's blocks",
}


def _digest(body: bytes, contents: bytes | bytearray | memoryview) -> bytes:
    import hashlib

    digest = hashlib.sha256(body)
    digest.update(contents)
    return digest.hexdigest().encode() + b"\n"
