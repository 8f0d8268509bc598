"""The step from the header to cffi keeps every declaration, or refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.declarations import HeaderError, abi_version, preprocess, read_header


def test_guards_includes_and_comments_go_and_declarations_stay() -> None:
    header = """
    #ifndef VLLM_SWIFT_H
    #define VLLM_SWIFT_H
    #include <stdint.h>
    #if defined(__GNUC__)
    #define VSW_API __attribute__((visibility("default")))
    #else
    #define VSW_API
    #endif
    #ifdef __cplusplus
    extern "C" {
    #endif
    #define VSW_ABI_VERSION 7
    /* several
     * lines; of comment */
    VSW_API uint32_t vsw_one(void);
    #ifdef __cplusplus
    }
    #endif
    #endif /* VLLM_SWIFT_H */
    """
    kept = [line.strip() for line in preprocess(header).splitlines()]
    assert kept == ["#define VSW_ABI_VERSION 7", "uint32_t vsw_one(void);"]


def test_a_header_that_two_others_include_is_taken_once(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "all.h").write_text('#include "parts/a.h"\n#include "parts/b.h"\n')
    (tmp_path / "parts/a.h").write_text('#include <stdint.h>\n#include "b.h"\nint a(void);\n')
    (tmp_path / "parts/b.h").write_text("int b(void);\n")
    kept = [line for line in read_header(tmp_path / "all.h").splitlines() if line]
    assert kept == ["#include <stdint.h>", "int b(void);", "int a(void);"]
    (tmp_path / "parts/b.h").unlink()
    with pytest.raises(FileNotFoundError, match=r"b\.h"):
        read_header(tmp_path / "all.h")


@pytest.mark.parametrize(
    "line",
    ["#if VSW_ABI_VERSION > 1", '#define VSW_NAME "text"', "#pragma pack(1)", '#include "a.h"'],
)
def test_an_unknown_directive_is_refused_by_name(line: str) -> None:
    with pytest.raises(HeaderError, match=line.split()[0]):
        preprocess(f"{line}\nint vsw_one(void);\n")


def test_the_abi_version_is_the_headers() -> None:
    assert abi_version("#define VSW_ABI_VERSION 12\n") == 12
    with pytest.raises(HeaderError):
        abi_version("int x;")
