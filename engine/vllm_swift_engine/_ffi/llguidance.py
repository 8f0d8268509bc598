"""Finds llguidance's native library, without importing the package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from vllm_swift_engine.errors import GrammarLibraryError

#: The one release whose C interface the native library declares (CLLGuidance).
VERSION = "1.9.1"


def find_llguidance() -> Path:
    """The path of llguidance's native library.

    Raises:
        GrammarLibraryError: it is missing, or of another version.
    """
    from importlib import metadata

    try:
        found = metadata.version("llguidance")
    except metadata.PackageNotFoundError:
        raise _unusable("llguidance is not installed") from None
    if found != VERSION:
        raise _unusable(f"llguidance {found} is installed")
    spec = importlib.util.find_spec("llguidance")
    for folder in (spec and spec.submodule_search_locations) or ():
        if (library := Path(folder) / "_lib.abi3.so").is_file():
            return library
    raise _unusable("the installed one has no native library")


def _unusable(why: str) -> GrammarLibraryError:
    return GrammarLibraryError(
        f"Grammars need llguidance {VERSION}, but {why}. "
        f'Install it: pip install "llguidance=={VERSION}"'
    )
