"""Says on which platforms a wheel with this native library runs."""

from __future__ import annotations

import platform
import re
import sys
from pathlib import Path


def wheel_tag(library: Path, libmlx: Path) -> str:
    """Returns the wheel's tag: nothing in it depends on the Python version.

    On Linux the platform is read from the symbol versions that `library` asks for. It promises no
    older glibc than `libmlx`, which it cannot run without, and no promise at all is made where it
    asks for a newer libstdc++ than libmlx does: the manylinux tags bound that too.
    """
    if sys.platform == "darwin":
        return "py3-none-macosx_14_0_arm64"
    ours, mlx = library.read_bytes(), libmlx.read_bytes()
    machine = platform.machine()
    if any(newest(ours, name) > newest(mlx, name) for name in ("GLIBCXX", "CXXABI", "GCC")):
        return f"py3-none-linux_{machine}"
    major, minor = max(newest(ours, "GLIBC"), newest(mlx, "GLIBC"))[:2]
    return f"py3-none-manylinux_{major}_{minor}_{machine}"


def newest(library: bytes, name: str) -> tuple[int, ...]:
    """Returns the newest version of the symbol set `name` in the string tables of an ELF file."""
    found = re.findall(rb"\0" + name.encode() + rb"_([0-9.]+)(?=\0)", library)
    return max((tuple(map(int, version.split(b"."))) for version in found), default=())
