"""Broken installations say what to install."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vllm_swift_engine._ffi import library
from vllm_swift_engine.errors import (
    CLASS_BY_CODE,
    ABIMismatchError,
    LibraryError,
    LibraryNotFoundError,
    MLXVersionError,
    VLLMSwiftError,
    from_code,
)


class FakeFFI:
    RTLD_NOW, RTLD_LOCAL, RTLD_NODELETE = 2, 0, 4096

    def __init__(self, abi: int = 1, mlx: str = "1.2.3", fails: str | None = None) -> None:
        self.opened: list[str] = []
        self._fails = fails
        self._lib = SimpleNamespace(vsw_abi_version=lambda: abi, vsw_mlx_version_loaded=mlx.encode)

    def dlopen(self, path: str, flags: int) -> Any:
        assert flags & self.RTLD_NODELETE
        self.opened.append(Path(path).name)
        if self._fails and self._fails in path:
            raise OSError("undefined symbol: _ZN3mlx")
        return self._lib

    @staticmethod
    def string(value: bytes) -> bytes:
        return value


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The MLX distributions that are installed, by name; the package folder is ``tmp_path``."""
    versions = {"mlx": "1.2.3", "mlx-cpu": "1.2.3"}

    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(library, "_mlx_folders", lambda: iter([tmp_path / "mlx"]))
    monkeypatch.setattr(library, "__file__", str(tmp_path / "library.py"))
    (tmp_path / "mlx/lib").mkdir(parents=True)
    for name in ("mlx/lib/libmlx", "libvllmswift"):
        (tmp_path / f"{name}.{library._SUFFIX}").touch()
    return versions


def load(monkeypatch: pytest.MonkeyPatch, ffi: FakeFFI) -> library.Library:
    build = SimpleNamespace(MLX_VERSION="1.2.3", ABI_VERSION=1)
    modules = {"_declarations": SimpleNamespace(ffi=ffi), "_build_info": build}
    monkeypatch.setattr(library, "_built_module", modules.__getitem__)
    return library._load()


def test_mlx_is_opened_before_the_engine(
    installed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ffi = FakeFFI()
    load(monkeypatch, ffi)
    assert [name.split(".")[0] for name in ffi.opened] == ["libmlx", "libvllmswift"]


@pytest.mark.parametrize(
    "versions",
    [
        {"mlx": "1.2.4", "mlx-cpu": "1.2.4"},
        {"mlx": "1.2.3", "mlx-cpu": "1.2.2"},
        {"mlx": "1.2.3", "mlx-cuda-13": "1.3.0"},
        {},
    ],
)
def test_another_mlx_is_refused_before_anything_is_opened(
    installed: dict[str, str], monkeypatch: pytest.MonkeyPatch, versions: dict[str, str]
) -> None:
    installed.clear()
    installed.update(versions)
    ffi = FakeFFI()
    with pytest.raises(MLXVersionError, match=r'pip install "mlx==1\.2\.3"'):
        load(monkeypatch, ffi)
    assert ffi.opened == []


def test_a_local_build_of_the_same_release_is_the_same(
    installed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed["mlx"] = "1.2.3+local"
    load(monkeypatch, FakeFFI())


def test_releases_are_read_from_what_pip_leaves_beside_mlx(
    installed: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed.clear()  # as if nothing else knew
    for name in ("mlx-1.2.3", "mlx_cpu-1.2.3", "mlx_lm-0.9.0"):
        (tmp_path / f"{name}.dist-info").mkdir()
    load(monkeypatch, FakeFFI())
    (tmp_path / "mlx_cuda_13-1.2.2.dist-info").mkdir()
    with pytest.raises(MLXVersionError, match=r"mlx-cuda-13 1\.2\.2 is installed"):
        load(monkeypatch, FakeFFI())


def test_another_libmlx_than_its_metadata_says(
    installed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MLXVersionError, match=r"9\.9\.9 is loaded"):
        load(monkeypatch, FakeFFI(mlx="9.9.9"))


def test_another_abi(installed: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ABIMismatchError, match="Reinstall"):
        load(monkeypatch, FakeFFI(abi=2))


def test_mlx_without_a_backend(
    installed: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / f"mlx/lib/libmlx.{library._SUFFIX}").unlink()
    with pytest.raises(LibraryNotFoundError, match=r"vllm-swift-integrations\[cpu\]"):
        load(monkeypatch, FakeFFI())


def test_an_engine_that_was_not_built(
    installed: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / f"libvllmswift.{library._SUFFIX}").unlink()
    with pytest.raises(LibraryNotFoundError, match="libvllmswift"):
        load(monkeypatch, FakeFFI())


def test_a_module_that_was_not_built() -> None:
    with pytest.raises(LibraryNotFoundError, match="_nothing is missing"):
        library._built_module("_nothing")


def test_what_does_not_link(installed: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LibraryNotFoundError, match="undefined symbol"):
        load(monkeypatch, FakeFFI(fails="libvllmswift"))


def test_load_time_errors_are_of_one_kind_and_have_no_code() -> None:
    for error in (LibraryNotFoundError, ABIMismatchError, MLXVersionError):
        assert issubclass(error, LibraryError)
        assert issubclass(error, VLLMSwiftError)
        assert error.code is None


def test_a_code_becomes_its_class_and_an_unknown_one_the_base() -> None:
    for code, kind in CLASS_BY_CODE.items():
        error = from_code(code, "why")
        assert (type(error), error.code, str(error)) == (kind, code, "why")
    unknown = from_code(12345, "newer")
    assert (type(unknown), unknown.code) == (VLLMSwiftError, 12345)
    assert VLLMSwiftError.code is None
