"""Finds, checks and loads the native library and the MLX library that it shares.

Importing this module loads nothing: the checks and the two ``dlopen`` run on the first call of
:func:`load`, so that ``import vllm_swift_engine`` stays cheap and a broken installation gives a
typed error where an engine is opened.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from vllm_swift_engine.errors import ABIMismatchError, LibraryNotFoundError, MLXVersionError

#: MLX's distributions; those that are installed must all be of the one release.
_MLX_DISTRIBUTIONS = ("mlx", "mlx-metal", "mlx-cpu", "mlx-cuda-12", "mlx-cuda-13")
_SUFFIX = "dylib" if sys.platform == "darwin" else "so"
_REINSTALL = "Reinstall it: pip install --force-reinstall vllm-swift-integrations"


class Library(NamedTuple):
    """cffi's two objects: ``ffi`` knows the header's types, ``lib`` has its functions."""

    ffi: Any
    lib: Any


_lock = threading.Lock()
_loaded: Library | None = None


def load() -> Library:
    """The native library, loaded once a process.

    Raises:
        LibraryNotFoundError: the library or MLX's is missing or does not link.
        MLXVersionError: another MLX release than the one the library was built against.
        ABIMismatchError: the library and this package come from different versions.
    """
    global _loaded
    with _lock:
        if _loaded is None:
            _loaded = _load()
        return _loaded


def _load() -> Library:
    declarations, build = _built_module("_declarations"), _built_module("_build_info")
    check_mlx_version(build.MLX_VERSION)
    ffi = declarations.ffi
    # Found first by its full path, MLX's library is what the dynamic linker then gives to ours.
    _open(ffi, find_mlx_library())
    lib = _open(ffi, Path(__file__).with_name(f"libvllmswift.{_SUFFIX}"))
    abi = lib.vsw_abi_version()
    if abi != build.ABI_VERSION:
        raise ABIMismatchError(
            f"The native library has ABI version {abi}, this package needs {build.ABI_VERSION}. "
            f"{_REINSTALL}"
        )
    loaded = ffi.string(lib.vsw_mlx_version_loaded()).decode()
    if loaded != build.MLX_VERSION:
        raise MLXVersionError(_mlx_sentence(build.MLX_VERSION, f"libmlx {loaded} is loaded"))
    return Library(ffi, lib)


def _built_module(name: str) -> Any:
    try:
        return importlib.import_module(f"{__package__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{__package__}.{name}":
            raise
        raise LibraryNotFoundError(
            f"The native engine was not built: {error.name} is missing. {_REINSTALL}"
        ) from None


def check_mlx_version(wanted: str) -> None:
    """Raises MLXVersionError unless every installed part of MLX is of release ``wanted``."""
    found = _releases_beside_mlx()
    if "mlx" not in found:
        found = _releases_by_metadata()
    if "mlx" not in found:
        raise MLXVersionError(_mlx_sentence(wanted, "mlx is not installed"))
    for name, version in found.items():
        if version.split("+")[0] != wanted:
            raise MLXVersionError(_mlx_sentence(wanted, f"{name} {version} is installed"))


def _releases_beside_mlx() -> dict[str, str]:
    """By the folders that pip leaves (packaging.python.org, "Recording installed projects").

    ``importlib.metadata`` says the same, at a cost of 8 ms and 2.5 MB.
    """
    found = {}
    for folder in _mlx_folders():
        for record in folder.parent.glob("mlx*.dist-info"):
            name, _, version = record.name.removesuffix(".dist-info").rpartition("-")
            found[name.replace("_", "-")] = version
    return {name: found[name] for name in _MLX_DISTRIBUTIONS if name in found}


def _releases_by_metadata() -> dict[str, str]:
    """However they were installed."""
    from importlib import metadata

    found = {}
    for name in _MLX_DISTRIBUTIONS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _mlx_sentence(wanted: str, found: str) -> str:
    extra = "" if sys.platform == "darwin" else " (and mlx-cpu or mlx-cuda-13 of the same release)"
    return (
        f"The engine was built against mlx {wanted}, but {found}. "
        f'Install mlx {wanted}{extra}: pip install "mlx=={wanted}"'
    )


def find_mlx_library() -> Path:
    """The path of libmlx in the ``mlx`` package, found without importing MLX."""
    for folder in _mlx_folders():
        library = folder / "lib" / f"libmlx.{_SUFFIX}"
        if library.is_file():
            return library
    raise LibraryNotFoundError(
        f"MLX has no lib/libmlx.{_SUFFIX}. Install the backend for this machine: "
        'pip install "vllm-swift-integrations[cpu]" (or [cuda13] with an NVIDIA GPU).'
    )


def _mlx_folders() -> Iterator[Path]:
    spec = importlib.util.find_spec("mlx")
    for location in (spec and spec.submodule_search_locations) or ():
        yield Path(location)


def _open(ffi: Any, path: Path) -> Any:
    if not path.is_file():
        raise LibraryNotFoundError(f"The native library {path} is missing. {_REINSTALL}")
    try:
        # Never unmapped: at interpreter exit cffi closes libraries while native threads still run.
        return ffi.dlopen(str(path), ffi.RTLD_NOW | ffi.RTLD_LOCAL | ffi.RTLD_NODELETE)
    except OSError as error:
        raise LibraryNotFoundError(f"{path} cannot be loaded: {error}. {_REINSTALL}") from None
