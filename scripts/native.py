"""Builds the native library and everything beside it that vllm_swift_engine/_ffi needs.

Called by the build hook (hatch_build.py) and by the Makefile:

    python scripts/native.py requirements BACKEND   what has to be installed for a build
    python scripts/native.py check                  is the Swift toolchain there and new enough?
    python scripts/native.py build                  the library, into engine/vllm_swift_engine/_ffi
    python scripts/native.py test [ARGUMENT ...]    `swift test`, against the same MLX
"""

from __future__ import annotations

import filecmp
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import declarations

ROOT = Path(__file__).resolve().parent.parent
SWIFT_PACKAGE = ROOT / "swift"
HEADER = SWIFT_PACKAGE / "Sources/CVLLMSwift/include/vllm_swift.h"
FFI = ROOT / "engine/vllm_swift_engine/_ffi"
LIBRARY = FFI / ("libvllmswift.dylib" if sys.platform == "darwin" else "libvllmswift.so")
DECLARATIONS = FFI / "_declarations.py"
BUILD_INFO = FFI / "_build_info.py"
LIBMLX = SWIFT_PACKAGE / ".mlx/current/mlx/lib/libmlx.so"
ARTIFACTS = (LIBRARY, DECLARATIONS, BUILD_INFO)

MINIMUM_SWIFT = (6, 0)
# Each of these brings libmlx and its headers.
MLX_BACKENDS = ("mlx-cpu", "mlx-metal", "mlx-cuda-13")


class BuildError(Exception):
    """Ends a build with one sentence that says what to do."""


def check_platform() -> None:
    """Raises `BuildError` where MLX, and so this package, does not run."""
    machine = platform.machine()
    supported = {"linux": ("x86_64", "aarch64"), "darwin": ("arm64",)}
    if machine not in supported.get(sys.platform, ()):
        raise BuildError(
            f"vllm-swift-integrations runs on macOS 14 or later with Apple Silicon and on Linux "
            f"with x86_64 or aarch64, and this is {sys.platform} on {machine}."
        )


def check_swift() -> str:
    """Returns the path of a Swift toolchain that is new enough; raises `BuildError` without one."""
    advice = (
        "install Xcode 16 or later"
        if sys.platform == "darwin"
        else "install it from https://www.swift.org/install/linux/ and put its usr/bin on PATH"
    )
    needed = ".".join(map(str, MINIMUM_SWIFT))
    swift = shutil.which("swift")
    if swift is None:
        raise BuildError(f"Swift {needed} or later builds the engine, and is not here: {advice}.")
    process = subprocess.run([swift, "--version"], capture_output=True, text=True, check=False)
    match = re.search(r"Swift version (\d+)\.(\d+)", process.stdout + process.stderr)
    if match is None:
        raise BuildError(f"`{swift} --version` does not name a Swift version: {advice}.")
    if (int(match[1]), int(match[2])) < MINIMUM_SWIFT:
        raise BuildError(
            f"Swift {needed} or later builds the engine, and {swift} is {match[1]}.{match[2]}: "
            f"{advice}."
        )
    return swift


def check() -> str:
    """Returns the Swift toolchain's path, or raises a `BuildError` that says what is missing."""
    check_platform()
    return check_swift()


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def pinned_mlx() -> str:
    """Returns the one MLX version the package is built for and runs with."""
    dependencies: list[str] = pyproject()["project"]["dependencies"]
    return next(line.removeprefix("mlx==") for line in dependencies if line.startswith("mlx=="))


def requirements(backend: str) -> list[str]:
    """Returns what a build without isolation needs, with MLX's `backend` extra as its libmlx."""
    project = pyproject()
    extras: dict[str, list[str]] = project["project"]["optional-dependencies"]
    if backend not in ("cpu", "cuda13"):
        raise BuildError(f"The MLX backend is 'cpu' or 'cuda13', not '{backend}'.")
    tools: list[str] = project["build-system"]["requires"]
    return [line for line in tools if not line.startswith("mlx-cpu")] + extras[backend]


def find_mlx() -> metadata.Distribution:
    """Returns the installed distribution that holds libmlx, in the pinned version."""
    version = pinned_mlx()
    for name in MLX_BACKENDS:
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        if distribution.version != version:
            raise BuildError(
                f"The engine is built against MLX {version}, and {name} is {distribution.version}: "
                f"pip install {name}=={version}."
            )
        return distribution
    backend = "mlx-metal" if sys.platform == "darwin" else "mlx-cpu"
    raise BuildError(f"MLX's library is not here: pip install {backend}=={version}.")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary file that takes `path`'s place at the end, unless nothing changed.

    A library that a running process has mapped must not be written over, and a file that stays the
    same keeps its time, so that nothing that depends on it is built again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    new = Path(name)
    try:
        yield new
        if path.exists() and filecmp.cmp(new, path, shallow=False):
            return
        new.chmod(0o644)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def link_mlx() -> None:
    """Brings swift/.mlx/<version> up to date with the installed MLX and points `current` at it.

    An isolated build has its MLX at a new path each time. A copy at a stable path keeps rebuilds
    incremental and the tests' rpath valid. The folders lie as in site-packages: on Linux libmlx
    looks for its own libraries in ../../mlx_cpu.libs.
    """
    distribution = find_mlx()
    target = SWIFT_PACKAGE / ".mlx" / distribution.version
    for file in distribution.files or ():
        top = file.parts[0]
        wanted = top.endswith(".libs") or file.parts[:2] in (("mlx", "include"), ("mlx", "lib"))
        if not wanted:
            continue
        source = Path(str(distribution.locate_file(file)))
        copy = target / file
        if not copy.exists() or not filecmp.cmp(source, copy, shallow=False):
            with replacing(copy) as new:
                shutil.copyfile(source, new)
    current = target.parent / "current"
    if not current.is_symlink() or os.readlink(current) != target.name:
        new_link = target.parent / f".current.{os.getpid()}"
        new_link.symlink_to(target.name)
        new_link.replace(current)


def run_swift(swift: str, *arguments: str) -> None:
    command = [swift, *arguments]
    print("+", " ".join(command), flush=True)
    status = subprocess.run(command, cwd=SWIFT_PACKAGE, check=False).returncode
    if status != 0:
        raise BuildError(f"`swift {arguments[0]}` failed with status {status}: see its output.")


def build_product(name: str) -> Path:
    """Builds one library of the package incrementally; returns its path."""
    swift = check()
    link_mlx()
    options = ["--configuration", "release", "--scratch-path", ".build"]
    if sys.platform == "linux":
        # One library with no Swift runtime beside it. macOS has the runtime.
        options += ["-Xswiftc", "-static-stdlib"]
        # A symbol that nothing defines fails here, as on macOS, and not when it is loaded.
        options += ["-Xlinker", "--no-undefined"]
        # Names and debug information of what is linked statically: half of the file.
        options += ["-Xlinker", "--strip-all"]
    run_swift(swift, "build", "--product", name, *options)
    return SWIFT_PACKAGE / ".build/release" / f"lib{name}{LIBRARY.suffix}"


def build() -> None:
    """Builds the engine and writes the three files of `ARTIFACTS`."""
    built = build_product("vllmswift")
    with replacing(LIBRARY) as new:
        shutil.copyfile(built, new)
    header = declarations.read_header(HEADER)
    with replacing(DECLARATIONS) as new:
        declarations.write_module(header, "vllm_swift_engine._ffi._declarations", new)
    with replacing(BUILD_INFO) as new:
        new.write_text(
            "# Written by the build.\n"
            f'MLX_VERSION = "{pinned_mlx()}"\n'
            f"ABI_VERSION = {declarations.abi_version(header)}\n"
        )


def test(*arguments: str) -> None:
    """Runs `swift test` optimized: kernels without optimization are no test of anything.

    Its flags differ from the library's, so it has a build folder of its own.
    """
    swift = check()
    link_mlx()
    options = ["--configuration", "release", "--scratch-path", ".build-tests"]
    run_swift(swift, "test", *options, "-Xswiftc", "-enable-testing", *arguments)


def main(arguments: list[str]) -> int:
    commands: dict[str, Callable[..., object]] = {
        "requirements": lambda backend: print("\n".join(requirements(backend))),
        "check": check,
        "build": build,
        "test": test,
    }
    if not arguments or arguments[0] not in commands:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        commands[arguments[0]](*arguments[1:])
    except (BuildError, declarations.HeaderError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
