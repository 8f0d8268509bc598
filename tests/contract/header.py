"""Reads vllm_swift.h by its text and by a C compiler, neither of which is how cffi reads it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
INCLUDE = ROOT / "swift/Sources/CVLLMSwift/include"


class Layout(NamedTuple):
    """A struct's size and, of each field, its (offset, size), in bytes."""

    size: int
    fields: dict[str, tuple[int, int]]


def header_files() -> dict[str, str]:
    """Returns the text of vllm_swift.h and of the headers that it is made of, by their paths."""
    paths = sorted(INCLUDE.rglob("*.h"))
    return {path.relative_to(INCLUDE).as_posix(): path.read_text() for path in paths}


class Header:
    """What the header declares, by name."""

    def __init__(self, files: dict[str, str]) -> None:
        self.files = files
        self.text = text = "".join(files.values())
        code = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
        self.functions = re.findall(r"\bVSW_API\s[^;]*?\b(vsw_\w+)\s*\(", code)
        self.void_functions = re.findall(r"\bVSW_API\s+void\s+(vsw_\w+)\s*\(", code)
        self.structs = {
            name: re.findall(r"(\w+)\s*(?:\[\w+\])?;", body)
            for name, body in re.findall(r"typedef struct (\w+) \{(.*?)\} \1;", code, re.DOTALL)
        }
        self.constants = [
            name
            for body in re.findall(r"\benum \{(.*?)\};", code, re.DOTALL)
            for name in re.findall(r"(VSW_\w+)\s*=", body)
        ] + re.findall(r"#define (VSW_\w+)\s+\d+\s*$", code, re.MULTILINE)

    def altered(self, before: str, after: str) -> Header:
        """Returns the header with other words in one place."""
        assert self.text.count(before) == 1, f"{before!r} is there {self.text.count(before)} times"
        return Header({name: text.replace(before, after) for name, text in self.files.items()})


class Compiled(NamedTuple):
    """What a C compiler makes of a header."""

    layouts: dict[str, Layout]
    constants: dict[str, int]


def compile_header(header: Header, folder: Path) -> Compiled:
    """Compiles a program over the header that prints its layouts and constants, and runs it."""
    compiler = shutil.which("cc") or shutil.which("clang")
    assert compiler is not None, "install a C compiler (cc or clang): the contract is checked by it"
    for name, text in header.files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    lines = []
    for name, fields in header.structs.items():
        lines.append(f'printf("%zu %s\\n", sizeof({name}), "{name}");')
        lines += [
            f'printf("%zu %zu %s\\n", offsetof({name}, {field}), '
            f'sizeof((({name} *)0)->{field}), "{name}.{field}");'
            for field in fields
        ]
    lines += [f'printf("%lld %s\\n", (long long){name}, "{name}");' for name in header.constants]
    source = folder / "layout.c"
    source.write_text(
        '#include <stdio.h>\n#include "vllm_swift.h"\nint main(void) {\n'
        + "\n".join(lines)
        + "\nreturn 0;\n}\n"
    )
    program = folder / "layout"
    subprocess.run([compiler, "-std=c11", "-Wall", "-Werror", source, "-o", program], check=True)
    output = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    sizes: dict[str, int] = {}
    fields_of: dict[str, dict[str, tuple[int, int]]] = {name: {} for name in header.structs}
    for line in output.splitlines():
        *numbers, name = line.split()
        if "." in name:
            struct, field = name.split(".")
            fields_of[struct][field] = (int(numbers[0]), int(numbers[1]))
        else:
            sizes[name] = int(numbers[0])
    return Compiled(
        {name: Layout(sizes[name], fields) for name, fields in fields_of.items()},
        {name: sizes[name] for name in header.constants},
    )


def exported_symbols(library: Path, beginning: str = "vsw") -> set[str]:
    """Returns the names that begin so of the C functions that the library defines for others."""
    nm = shutil.which("nm") or shutil.which("llvm-nm")
    assert nm is not None, "install binutils (nm): it lists the library's exports"
    which = ["-gU"] if library.suffix == ".dylib" else ["-D", "--defined-only"]
    output = subprocess.run([nm, *which, library], capture_output=True, text=True, check=True)
    prefix = "_" if library.suffix == ".dylib" else ""
    names = {line.split()[-1].removeprefix(prefix) for line in output.stdout.splitlines() if line}
    return {name for name in names if name.lower().startswith(beginning)}
