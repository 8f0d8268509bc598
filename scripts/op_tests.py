"""Builds the ops' C++ tests (swift/Tests/CKernelsNative) for this machine and runs them.

    python scripts/op_tests.py plain|address|thread [ARGUMENT ...]

address: with AddressSanitizer and UndefinedBehaviorSanitizer; thread: with ThreadSanitizer.
Arguments are those of the test program, for example `--rounds 3 attend`.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import cxx
import native

COMMON = ("-gline-tables-only", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all")
FLAGS: dict[str, tuple[str, ...]] = {
    "plain": ("-O2",),
    # MLX's classes are without type information of ours: no vptr checks. What the other two would
    # find, AddressSanitizer sees when it is read, and in the kernels they take minutes to compile.
    "address": (
        "-O1",
        *COMMON,
        "-fsanitize=address,undefined",
        "-fno-sanitize=vptr,object-size,pointer-overflow",
    ),
    "thread": ("-O1", *COMMON, "-fsanitize=thread"),
}
ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1:check_initialization_order=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "second_deadlock_stack=1",
}


def clang() -> Path:
    """Returns the Swift toolchain's clang++: kernels are written for clang."""
    return Path(native.check()).resolve().parent / "clang++"


def build(kind: str) -> Path:
    native.link_mlx()
    mlx = native.LIBMLX.parent.parent
    compiler = cxx.Compiler((str(clang()),), FLAGS[kind], mlx, cxx.BUILD / kind)
    objects = compiler.objects(cxx.sources(*cxx.TARGETS, cxx.OP_TESTS))
    linking = [*FLAGS[kind], "-pthread", f"-Wl,-rpath,{mlx / 'lib'}"]
    if kind == "thread":  # this toolchain's ThreadSanitizer knows libdispatch, and asks for it
        swift = clang().parent.parent / "lib/swift/linux"
        linking += [f"-L{swift}", f"-Wl,-rpath,{swift}", "-ldispatch", "-lBlocksRuntime"]
    program = compiler.folder / "op-tests"
    compiler.link(objects, program, *linking)
    return program


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in FLAGS:
        print(__doc__, file=sys.stderr)
        return 2
    if platform.system() == "Darwin" and arguments[0] != "plain":
        print("error: sanitizers run on Linux.", file=sys.stderr)
        return 2
    try:
        program = build(arguments[0])
    except native.BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    symbolizer = str(clang().parent / "llvm-symbolizer")
    environment = {
        **os.environ,
        **ENVIRONMENT,
        "ASAN_SYMBOLIZER_PATH": symbolizer,
        "TSAN_SYMBOLIZER_PATH": symbolizer,
    }
    return subprocess.run([program, *arguments[1:]], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
