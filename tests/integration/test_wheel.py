"""The wheel runs where there is no Swift, no compiler and no repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.tags import sys_tags
from packaging.utils import parse_wheel_filename

pytestmark = pytest.mark.wheel

ROOT = Path(__file__).resolve().parents[2]
NATIVE = "libvllmswift.dylib" if sys.platform == "darwin" else "libvllmswift.so"
PROGRAM = """
import sys
from vllm_swift_engine import Engine, SamplingParams
with Engine(sys.argv[1], device="cpu") as engine:
    greedy = SamplingParams(temperature=0, max_tokens=8)
    output = engine.generate("The capital of France is", greedy)
print(output.usage.completion_tokens, output.text)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel with its `cpu` extra, and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    python = folder / "bin/python"
    install = [python, "-m", "pip", "install", "--quiet", f"{wheel}[cpu]"]
    subprocess.run(install, check=True, cwd=folder)
    return python


def test_its_tag_depends_on_the_platform_alone(wheel: Path) -> None:
    _, _, _, tags = parse_wheel_filename(wheel.name)
    (tag,) = tags
    assert (tag.interpreter, tag.abi) == ("py3", "none")
    assert re.fullmatch(r"(manylinux_2_\d+|linux)_(x86_64|aarch64)|macosx_14_0_arm64", tag.platform)
    assert tag in set(sys_tags())


@pytest.mark.skipif(sys.platform != "linux", reason="auditwheel reads Linux's libraries")
def test_it_promises_no_more_than_its_library_keeps(wheel: Path) -> None:
    command = [Path(sys.executable).with_name("auditwheel"), "show", "--json", wheel]
    report = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    # No Swift runtime, and nothing else that a pip install does not bring.
    assert report["external_libs"].keys() == {"libmlx.so"}
    promised = re.search(r"manylinux_2_(\d+)", wheel.name)
    if promised:
        allowed = re.search(r"manylinux_2_(\d+)", report["sym_tag"])
        assert allowed is not None
        assert int(promised[1]) >= int(allowed[1])


def test_it_holds_the_two_packages_and_the_native_library(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    roots = {name.split("/")[0] for name in names}
    assert {root for root in roots if not root.endswith(".dist-info")} == {
        "vllm_swift_engine",
        "vllm_swift_integrations",
    }
    ffi = "vllm_swift_engine/_ffi"
    assert {f"{ffi}/{NATIVE}", f"{ffi}/_declarations.py", f"{ffi}/_build_info.py"} <= names
    assert {"vllm_swift_engine/py.typed", "vllm_swift_integrations/py.typed"} <= names
    tracked = subprocess.run(
        ["git", "ls-files", "vllm_swift_integrations", "engine"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    missing = {file.removeprefix("engine/") for file in tracked.stdout.split()} - names
    assert missing == set()


def test_it_generates_without_swift_outside_the_repository(
    python: Path, smollm2: Path, tmp_path: Path
) -> None:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {"PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"}
    }
    environment |= {"PATH": str(python.parent), "HOME": str(tmp_path)}
    assert shutil.which("swift", path=environment["PATH"]) is None
    result = subprocess.run(
        [python, "-c", PROGRAM, smollm2],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    count, text = result.stdout.split(maxsplit=1)
    assert count == "8"
    assert "Paris" in text
