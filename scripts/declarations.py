"""Makes a cffi module in out-of-line ABI mode of vllm_swift.h: importing it parses nothing."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

# The branches a C compiler takes through the header on every platform that is supported.
_CONDITIONS = {"ifdef __cplusplus": False, "if defined(__GNUC__)": True}
_GUARD = re.compile(r"ifndef VLLM_SWIFT_(\w+_)?H$")
_PART = re.compile(r'^#include "([\w/]+\.h)"$', flags=re.MULTILINE)
_INTEGER_MACRO = re.compile(r"define\s+(\w+)\s+(\d+)$")
_IGNORED = re.compile(r"(include\s+<\w+\.h>|define\s+(VLLM_SWIFT_(\w+_)?H|VSW_API\b.*))$")


class HeaderError(Exception):
    """The header holds a preprocessor line that this module does not know."""


def read_header(path: Path) -> str:
    """Returns a header's text with the headers that it includes by quotes in place, each once."""
    seen: set[Path] = set()

    def text(part: Path) -> str:
        if part in seen:
            return ""
        seen.add(part)
        return _PART.sub(lambda include: text(part.parent / include[1]), part.read_text())

    return text(path)


def preprocess(header: str) -> str:
    """Returns the header's declarations as cffi's `cdef` takes them.

    Knows the few directives the header uses and raises `HeaderError` at any other, so that no
    declaration is lost in silence.
    """
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    taken: list[bool] = []
    lines = []
    for line in text.splitlines():
        stripped = line.strip()
        if not stripped.startswith("#"):
            if stripped and all(taken):
                lines.append(re.sub(r"\bVSW_API\s+", "", line.rstrip()))
            continue
        directive = " ".join(stripped[1:].split())
        if _GUARD.match(directive):
            taken.append(True)
        elif directive in _CONDITIONS:
            taken.append(_CONDITIONS[directive])
        elif directive == "else" and taken:
            taken[-1] = not taken[-1]
        elif directive == "endif" and taken:
            taken.pop()
        elif _INTEGER_MACRO.match(directive):
            lines.append(f"#{directive}")
        elif not _IGNORED.match(directive):
            raise HeaderError(f"vllm_swift.h: scripts/declarations.py does not know '#{directive}'")
    return "\n".join(lines) + "\n"


def abi_version(header: str) -> int:
    """Returns VSW_ABI_VERSION; raises `HeaderError` where the header does not define it."""
    match = re.search(r"^#define\s+VSW_ABI_VERSION\s+(\d+)\s*$", header, flags=re.MULTILINE)
    if match is None:
        raise HeaderError("vllm_swift.h does not define VSW_ABI_VERSION")
    return int(match[1])


def write_module(header: str, module_name: str, path: Path) -> None:
    """Writes the importable cffi module `module_name` for `header` at `path`."""
    import cffi

    ffi = cffi.FFI()
    ffi.cdef(preprocess(header))
    ffi.set_source(module_name, None)
    # It prints the path, which is the build's own temporary file.
    with contextlib.redirect_stdout(io.StringIO()):
        ffi.emit_python_code(str(path))
