"""llguidance's wheel has no header: ours is held against the library itself."""

from __future__ import annotations

import ctypes
import re
import struct

import pytest

from tests.contract.header import ROOT, exported_symbols
from vllm_swift_engine._ffi import llguidance
from vllm_swift_engine.errors import GrammarLibraryError

SOURCES = ROOT / "swift/Sources/CLLGuidance"
HEADER = (SOURCES / "include/llguidance_abi.h").read_text()
#: Bytes that no field of a struct is set to.
FILL = 0xAA


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    return ctypes.CDLL(str(llguidance.find_llguidance()))


def test_one_version_is_pinned_everywhere(library: ctypes.CDLL) -> None:
    library.llg_get_version.restype = ctypes.c_char_p
    pinned = re.search(r'LLG_PINNED_VERSION "(.*)"', HEADER)
    assert pinned is not None
    assert library.llg_get_version().decode().startswith(pinned[1])
    assert pinned[1] == f"llguidance@{llguidance.VERSION} "
    assert f'"llguidance=={llguidance.VERSION}"' in (ROOT / "pyproject.toml").read_text()


def test_every_function_that_is_declared_is_found_and_exported() -> None:
    declared = re.findall(r"\(\*_Nonnull (\w+)\)", HEADER)
    found = re.findall(r"each\((\w+)\)", (SOURCES / "open.c").read_text())
    assert len(declared) >= 16
    assert declared == found
    exported = exported_symbols(llguidance.find_llguidance(), "llg_")
    assert {f"llg_{name}" for name in declared} <= exported


def test_the_library_fills_in_the_struct_that_is_declared(library: ctypes.CDLL) -> None:
    """A field that moved, or a new one, would be written elsewhere."""
    memory = (ctypes.c_uint8 * 512)(*[FILL] * 512)
    tokenizer = 0x1122334455667788
    library.llg_constraint_init_set_defaults(memory, ctypes.c_void_p(tokenizer))
    layout = "<QIIBB6xQQQQQQBB"
    size = struct.calcsize(layout)
    fields = struct.unpack(layout, bytes(memory)[:size])
    assert fields[0] == tokenizer
    assert fields[5:] == (2000, 1_000_000, 200_000, 50_000, 250_000, 500_000, 1, 1)
    assert set(bytes(memory)[size:]) == {FILL}


@pytest.mark.parametrize("found", [None, "1.9.0"])
def test_a_missing_or_other_version_is_a_typed_error_that_says_what_to_install(
    found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import metadata

    def version(name: str) -> str:
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(GrammarLibraryError, match=r"pip install .llguidance=="):
        llguidance.find_llguidance()
