"""Checks the C++ targets on machines that are not at hand. See docs/cross.md.

    python scripts/cross.py linux [ARGUMENT ...]   op tests on aarch64 Linux, under qemu
    python scripts/cross.py macos                  link for arm64 macOS against its libmlx.dylib

The compiler is the `ziglang` wheel's. Everything that is downloaded or built lies under
swift/.build-cxx. Arguments are those of the test program.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import cxx
import native

FOLDER = cxx.BUILD / "cross"
# The oldest macOS that the package runs on, and the glibc that libmlx asks for.
MACOS, GLIBC = "14.0", "2.35"
# One with 8-bit matrix products and bfloat16, one with dot products alone.
PROCESSORS = ("max", "neoverse-n1")


class Unavailable(Exception):
    """Says what this machine cannot get: the check is skipped, not failed."""


def zig(target: str, *flags: str, mlx: Path, folder: Path) -> cxx.Compiler:
    cache = str(FOLDER / "zig")
    return cxx.Compiler(
        (sys.executable, "-m", "ziglang", "c++", "-target", target),
        flags,
        mlx,
        folder,
        (("ZIG_GLOBAL_CACHE_DIR", cache), ("ZIG_LOCAL_CACHE_DIR", cache)),
    )


def mlx_wheel(name: str, platform: str) -> Path:
    """Downloads and unpacks MLX's library of another platform; returns its folder."""
    version = native.pinned_mlx()
    folder = FOLDER / f"{name}-{version}-{platform}"
    if folder.exists():
        return folder
    downloads = FOLDER / "downloads"
    cxx.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
         "--no-deps", "--only-binary=:all:", "--platform", platform, "--dest", downloads,
         f"{name}=={version}"]
    )  # fmt: skip
    (wheel,) = downloads.glob(f"{name.replace('-', '_')}-{version}-*{platform}*.whl")
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unfinished)
    unfinished.rename(folder)
    wheel.unlink()
    return folder


# ------------------------------------------------------------------------------------ macOS -------


def macos() -> None:
    """Links CMLX and CKernels; an undefined symbol is an error."""
    platform = f"macosx_{MACOS.replace('.', '_')}_arm64"
    mlx = mlx_wheel("mlx-metal", platform) / "mlx"
    # Nothing of it is run, and the optimizer takes most of the time.
    compiler = zig(
        f"aarch64-macos.{MACOS}", "-O0", "-fno-sanitize=undefined", mlx=mlx, folder=FOLDER / "macos"
    )
    library = compiler.folder / "libops.dylib"
    compiler.link(compiler.objects(cxx.sources(*cxx.TARGETS)), library, "-shared")
    print(f"Linked for arm64 macOS {MACOS}, no symbol undefined: {library.relative_to(cxx.SWIFT)}")


# ------------------------------------------------------------------------------------ Linux -------


class Packages:
    """Debian packages unpacked into a folder: apt with a state of its own, which needs no root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise Unavailable("Debian's apt-get and dpkg-deb are not here")
        state = folder / "apt"
        (state / "lists/partial").mkdir(parents=True, exist_ok=True)
        (state / "archives/partial").mkdir(parents=True, exist_ok=True)
        (state / "status").touch()
        settings = {
            "Dir::State::Lists": state / "lists",
            "Dir::State::Status": state / "status",
            "Dir::Cache": state,
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "Acquire::http::Timeout": 20,
        }
        self._options = [f"-o{name}={value}" for name, value in settings.items()]
        # Sources beside Debian's own may be out of reach: what counts is what can be downloaded.
        self._apt("apt-get", "update")

    def _apt(self, tool: str, *arguments: str) -> str:
        process = subprocess.run(
            [tool, "--quiet", *self._options, *arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=False,
        )
        return process.stdout

    def newest(self, pattern: str) -> str:
        """The package whose name matches, with the largest number in it."""
        found = self._apt("apt-cache", "search", "--names-only", pattern).split("\n")
        names = [line.split(" ")[0] for line in found if line]
        if not names:
            raise Unavailable(f"no package {pattern} can be found")
        return max(names, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])

    def unpack(self, name: str) -> None:
        self._apt("apt-get", "download", name)
        files = list(self.folder.glob(f"{name}_*.deb"))
        if len(files) != 1:
            raise Unavailable(f"the package {name} cannot be downloaded")
        cxx.run(["dpkg-deb", "--extract", files[0], self.folder])
        files[0].unlink()


def installed_qemu() -> str | None:
    return shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")


def aarch64() -> Path:
    """Unpacks the C++ runtime and headers of aarch64, and qemu where there is none."""
    folder = FOLDER / "debian"
    if folder.exists():
        return folder
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    packages = Packages(unfinished)
    for name in ("libc6-arm64-cross", "libgcc-s1-arm64-cross", "libstdc++6-arm64-cross"):
        packages.unpack(name)
    packages.unpack(packages.newest(r"^libstdc\+\+-[0-9]+-dev-arm64-cross$"))
    if installed_qemu() is None:
        packages.unpack(packages.newest("^qemu-user-static$"))
    unfinished.rename(folder)
    return folder


def linux(*arguments: str) -> None:
    """Builds the op tests for aarch64 and runs them on each of `PROCESSORS`."""
    debian = aarch64()
    root = debian / "usr/aarch64-linux-gnu"
    qemu = installed_qemu() or str(debian / "usr/bin/qemu-aarch64-static")
    (headers,) = (root / "include/c++").iterdir()
    wheel = mlx_wheel("mlx-cpu", f"manylinux_{GLIBC.replace('.', '_')}_aarch64")
    # libmlx is built with libstdc++, and zig comes with libc++.
    includes = (f"-I{headers}", f"-I{headers / 'aarch64-linux-gnu'}")
    compiler = zig(
        f"aarch64-linux-gnu.{GLIBC}", "-O2", "-nostdinc++", *includes,
        mlx=wheel / "mlx", folder=FOLDER / "linux",
    )  # fmt: skip
    objects = compiler.objects(cxx.sources(*cxx.TARGETS, cxx.OP_TESTS))
    program = compiler.folder / "op-tests"
    runtime = [str(root / "lib" / name) for name in ("libstdc++.so.6", "libgcc_s.so.1")]
    # Debian's own libraries may ask for a newer glibc than our objects.
    newer = "-Wl,--allow-shlib-undefined"
    compiler.link(objects, program, "-nostdlib++", *runtime, "-pthread", newer)
    libraries = f"LD_LIBRARY_PATH={wheel / 'mlx/lib'}:{wheel / 'mlx_cpu.libs'}"
    for processor in PROCESSORS:
        print(f"aarch64 under qemu, -cpu {processor}:", flush=True)
        command = [qemu, "-L", root, "-cpu", processor, "-E", libraries, program, *arguments]
        if subprocess.run(command, check=False).returncode != 0:
            raise native.BuildError(f"the op tests fail on {processor}.")


def main(arguments: list[str]) -> int:
    commands = {"linux": linux, "macos": macos}
    if not arguments or arguments[0] not in commands:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        FOLDER.mkdir(parents=True, exist_ok=True)
        commands[arguments[0]](*arguments[1:])
    except Unavailable as missing:
        print(f"SKIPPED, nothing was checked for {arguments[0]}: {missing}.")
    except native.BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
