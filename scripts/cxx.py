"""Compiles the C++ targets and their op tests without SwiftPM, for any compiler and target."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import native

SWIFT = native.SWIFT_PACKAGE
BUILD = SWIFT / ".build-cxx"
TARGETS = (SWIFT / "Sources/CMLX", SWIFT / "Sources/CKernels")
OP_TESTS = SWIFT / "Tests/CKernelsNative"


def sources(*folders: Path) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*.cpp"))


def _newest_shared() -> float:
    """When last something changed that every object depends on: a header, or a script's flags."""
    folders = (*TARGETS, OP_TESTS)
    headers = [path for folder in folders for path in folder.rglob("*.h*")]
    scripts = Path(__file__).parent.glob("*.py")
    return max(path.stat().st_mtime for path in (*headers, *scripts))


def run(command: Sequence[str | os.PathLike[str]], **environment: str) -> None:
    """Runs a command; raises `BuildError` with all that it printed where it fails."""
    process = subprocess.run(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if process.returncode != 0:
        line = " ".join(map(str, command))
        raise native.BuildError(
            f"{line}\nfailed with status {process.returncode}:\n{process.stdout}"
        )


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler for one target, with a folder of objects of its own."""

    command: tuple[str, ...]
    flags: tuple[str, ...]
    mlx: Path  # the folder that has include/ and lib/
    folder: Path
    environment: tuple[tuple[str, str], ...] = ()

    def _compile(self, source: Path, newest_shared: float) -> Path:
        target = self.folder / source.relative_to(SWIFT).with_suffix(".o")
        newest = max(source.stat().st_mtime, newest_shared)
        if target.exists() and target.stat().st_mtime > newest:
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_suffix(".tmp.o")
        include = (f"-I{SWIFT / 'Sources/CMLX/include'}", f"-I{self.mlx / 'include'}")
        self._run("-std=c++20", "-fPIC", *self.flags, *include, "-c", str(source), "-o",
                  str(unfinished))  # fmt: skip
        unfinished.replace(target)
        return target

    def objects(self, sources: Iterable[Path]) -> list[Path]:
        """Compiles what has changed since the last time, on all processors.

        Raises:
            BuildError: With the compiler's output.
        """
        newest_shared = _newest_shared()
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            return list(pool.map(lambda source: self._compile(source, newest_shared), sources))

    def link(self, objects: Iterable[Path], target: Path, *flags: str) -> None:
        self._run(*map(str, objects), "-o", str(target), f"-L{self.mlx / 'lib'}", "-lmlx", *flags)

    def _run(self, *arguments: str) -> None:
        run([*self.command, *arguments], **dict(self.environment))
