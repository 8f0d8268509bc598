"""A folder of converted tokenizers, shared by the user's processes.

An entry is a folder with the files of a Hugging Face tokenizer and a checksum over them. It is
written aside and moved into place; one that fails its checksum is as good as none.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

CACHE_VARIABLE = "VLLM_SWIFT_CACHE"
_CHECKSUM = "checksum"


def cache_folder() -> Path | None:
    """VLLM_SWIFT_CACHE, else ``vllm-swift`` in the platform's folder for caches.

    None for a user without a home.
    """
    if folder := os.environ.get(CACHE_VARIABLE):
        return Path(folder).expanduser()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "vllm-swift"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    caches = home / "Library/Caches" if sys.platform == "darwin" else home / ".cache"
    return caches / "vllm-swift"


def read_entry(entry: Path, names: tuple[str, ...]) -> dict[str, bytes] | None:
    """The files of an entry, or None when it is missing or damaged."""
    try:
        files = {name: (entry / name).read_bytes() for name in names}
        checksum = (entry / _CHECKSUM).read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return files if checksum == _digest(files) else None


def write_entry(entry: Path, files: dict[str, bytes]) -> None:
    """Puts an entry in place of whatever is there. A cache that cannot be written is logged."""
    import logging
    import shutil
    import tempfile

    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=entry.parent))
        try:
            for name, content in files.items():
                (fresh / name).write_bytes(content)
            (fresh / _CHECKSUM).write_text(_digest(files), encoding="ascii")
            _move(fresh, entry)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        logging.getLogger(__name__).warning(
            "The converted tokenizer cannot be kept in %s: %s", entry.parent, error
        )


def _move(fresh: Path, entry: Path) -> None:
    import shutil

    try:
        fresh.rename(entry)
    except OSError:
        # A folder is replaced only when empty. What is there is damaged, or another process was
        # first with the same files; either way this one is right.
        shutil.rmtree(entry, ignore_errors=True)
        fresh.rename(entry)


def _digest(files: dict[str, bytes]) -> str:
    import hashlib

    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name} {len(files[name])}\n".encode())
        digest.update(files[name])
    return digest.hexdigest()
