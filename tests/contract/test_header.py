"""The header, the built library, the cffi module and the error classes say the same."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.contract.header import (
    ROOT,
    Compiled,
    Header,
    Layout,
    compile_header,
    exported_symbols,
    header_files,
)
from vllm_swift_engine import errors
from vllm_swift_engine._ffi import _build_info
from vllm_swift_engine._ffi._declarations import ffi

LIBRARY_NAME = "libvllmswift.dylib" if sys.platform == "darwin" else "libvllmswift.so"


@pytest.fixture(scope="module")
def header() -> Header:
    return Header(header_files())


@pytest.fixture(scope="module")
def compiled(header: Header, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return compile_header(header, tmp_path_factory.mktemp("header"))


def differences(expected: Mapping[str, object], actual: Mapping[str, object]) -> list[str]:
    """Returns one line for each name that is on one side only or means different things."""
    return [
        f"{name}: {expected.get(name, 'missing')} != {actual.get(name, 'missing')}"
        for name in sorted(expected.keys() | actual.keys())
        if name not in expected or name not in actual or expected[name] != actual[name]
    ]


def cffi_layouts(declared: Any) -> dict[str, Layout]:
    """Returns the layouts of all structs with fields that a cffi module knows."""
    layouts = {}
    for name in declared.list_types()[0]:
        struct = declared.typeof(name)
        if struct.kind != "struct":
            continue
        try:
            size = declared.sizeof(struct)
        except declared.error:
            continue  # opaque; asking cffi for its fields would end the process
        fields = {field: (info.offset, declared.sizeof(info.type)) for field, info in struct.fields}
        layouts[name] = Layout(size, fields)
    return layouts


def cffi_constants(declared: Any, names: list[str]) -> dict[str, int]:
    library = declared.dlopen(None)
    return {name: getattr(library, name) for name in names if name in dir(library)}


def swift_error_codes() -> dict[str, int]:
    """Returns Swift's error codes under the header's names."""
    source = (ROOT / "swift/Sources/VLLMSwiftCore/EngineError.swift").read_text()
    cases = re.findall(r"case `?(\w+)`? = (\d+)", source)
    return {
        "VSW_ERROR_" + re.sub(r"(?<!^)([A-Z])", r"_\1", name).upper(): int(code)
        for name, code in cases
    }


def error_codes(constants: dict[str, int]) -> dict[str, int]:
    return {name: code for name, code in constants.items() if name.startswith("VSW_ERROR_")}


def test_the_header_reader_sees_the_header(header: Header) -> None:
    assert header.text.count("VSW_API ") - header.text.count("#define VSW_API ") == len(
        header.functions
    )
    assert {"vsw_submit", "vsw_abi_version", "vsw_poll"} <= set(header.functions)
    assert header.structs["vsw_error"] == ["code", "message"]
    assert "VSW_ERROR_INTERNAL" in header.constants


def test_every_export_is_declared_and_every_declaration_exported(header: Header) -> None:
    library = Path(_build_info.__file__).with_name(LIBRARY_NAME)
    declared = dict.fromkeys(header.functions, "function")
    assert differences(declared, dict.fromkeys(exported_symbols(library), "function")) == []


def test_cffi_declares_every_function(header: Header) -> None:
    functions = [name for name in dir(ffi.dlopen(None)) if name.startswith("vsw_")]
    assert sorted(header.functions) == sorted(functions)


def test_structs_have_one_layout_in_c_and_in_cffi(compiled: Compiled) -> None:
    assert len(compiled.layouts) >= 10
    assert differences(compiled.layouts, cffi_layouts(ffi)) == []


def test_constants_have_one_value_in_c_and_in_cffi(header: Header, compiled: Compiled) -> None:
    assert differences(compiled.constants, cffi_constants(ffi, header.constants)) == []


def test_the_package_knows_the_headers_abi_version(compiled: Compiled) -> None:
    assert compiled.constants["VSW_ABI_VERSION"] == _build_info.ABI_VERSION


def test_every_error_code_has_one_exception(compiled: Compiled) -> None:
    codes = dict.fromkeys(error_codes(compiled.constants).values(), "error")
    assert len(codes) == len(error_codes(compiled.constants))
    assert codes.keys() == errors.CLASS_BY_CODE.keys()
    assert all(error.code == code for code, error in errors.CLASS_BY_CODE.items())


def test_every_leaf_exception_with_a_code_is_in_the_table() -> None:
    def tree(error: type[errors.VLLMSwiftError]) -> list[type[errors.VLLMSwiftError]]:
        return [error, *(leaf for child in error.__subclasses__() for leaf in tree(child))]

    coded = {error for error in tree(errors.VLLMSwiftError) if "code" in vars(error)}
    assert coded - {errors.VLLMSwiftError} == set(errors.CLASS_BY_CODE.values())


def test_swift_has_the_headers_error_codes(compiled: Compiled) -> None:
    assert differences(error_codes(compiled.constants), swift_error_codes()) == []


# ------------------------------------------------------------- the checks themselves can fail ---


def test_a_missing_or_additional_name_is_a_difference() -> None:
    assert differences({"a": 1, "b": 1}, {"a": 1}) == ["b: 1 != missing"]
    assert differences({"a": 1}, {"a": 1, "b": 1}) == ["b: missing != 1"]
    assert differences({"a": 1}, {"a": 2}) == ["a: 1 != 2"]


def test_an_additional_export_is_seen(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("clang")
    assert compiler is not None
    source, library = tmp_path / "x.c", tmp_path / "libx.so"
    source.write_text("int vsw_unknown(void) { return 0; }\nint other(void) { return 0; }\n")
    subprocess.run([compiler, "-shared", "-fPIC", source, "-o", library], check=True)
    assert exported_symbols(library) == {"vsw_unknown"}


@pytest.mark.parametrize(
    ("before", "after", "culprit"),
    [
        ("uint32_t threads;", "uint64_t threads;", "vsw_runtime_params"),
        ("int32_t code;\n  char message[512];", "char message[512];\n  int32_t code;", "vsw_error"),
        ("char message[512];", "char message[256];", "vsw_error"),
        ("float logprob;", "double logprob;", "vsw_logprob"),
    ],
)
def test_a_changed_struct_is_a_difference(
    header: Header, tmp_path: Path, before: str, after: str, culprit: str
) -> None:
    altered = compile_header(header.altered(before, after), tmp_path)
    found = differences(altered.layouts, cffi_layouts(ffi))
    assert any(line.startswith(f"{culprit}:") for line in found)


def test_a_changed_constant_is_a_difference(header: Header, tmp_path: Path) -> None:
    header_with = header.altered("VSW_ERROR_CLOSED = 90", "VSW_ERROR_CLOSED = 93")
    altered = compile_header(header_with, tmp_path)
    found = differences(altered.constants, cffi_constants(ffi, header.constants))
    assert found == ["VSW_ERROR_CLOSED: 93 != 90"]
    assert differences(error_codes(altered.constants), swift_error_codes()) == found
    assert set(error_codes(altered.constants).values()) != errors.CLASS_BY_CODE.keys()
