"""Arrows point one way: integrations -> engine -> the C header -> Bridge -> ... -> libmlx."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.imports import (
    python_imports,
    python_packages,
    swift_imports,
    violations,
)

ROOT = Path(__file__).resolve().parents[2]
INTEGRATIONS, ENGINE = "vllm_swift_integrations", "vllm_swift_engine"
PACKAGES = {INTEGRATIONS: INTEGRATIONS, ENGINE: f"engine/{ENGINE}"}

REPOSITORY = {"tests", "benchmarks", "notebooks", "scripts", "hatch_build"}
FRAMEWORKS = {"langchain", "langchain_core", "langchain_community", "llama_index"}
NATIVE = {"cffi", "_cffi_backend", "ctypes", "mlx"}

# Modules inside the key must not import what is inside the values.
FORBIDDEN = {
    ENGINE: REPOSITORY | FRAMEWORKS | {INTEGRATIONS},
    f"{ENGINE}._ffi": {f"{ENGINE}.{name}" for name in ("engine", "models", "chat")},
    f"{ENGINE}.errors": {ENGINE},
    f"{ENGINE}.models": {f"{ENGINE}.engine"},
    f"{ENGINE}.chat": {f"{ENGINE}.engine"},
    INTEGRATIONS: REPOSITORY | NATIVE | {f"{ENGINE}._ffi", "langchain_community"},
    f"{INTEGRATIONS}.langchain": {f"{INTEGRATIONS}.{name}" for name in ("llama_index", "server")},
    f"{INTEGRATIONS}.llama_index": {
        f"{INTEGRATIONS}.langchain",
        f"{INTEGRATIONS}.server",
        "langchain_core",
    },
}

# Each target's own headers, and what is below it. CMLX hands out raw references to MLX's arrays:
# in Swift, MLXArray alone touches them.
MODELS = {"CKernels", "MLXArray", "VLLMSwiftFiles", "VLLMSwiftCore"}
SWIFT: dict[str, set[str]] = {
    "CVLLMSwift": {"vllm_swift.h"},
    "CMLX": {"cmlx.h", "cmlx.hpp", "mlx"},
    "CKernels": {"ckernels.h", "CMLX", "cmlx.h", "cmlx.hpp", "mlx"},
    "CLLGuidance": {"llguidance_abi.h"},
    "VLLMSwiftCore": set(),
    "VLLMSwiftGrammar": {"CLLGuidance", "VLLMSwiftCore"},
    "MLXArray": {"CMLX", "VLLMSwiftCore"},
    "VLLMSwiftFiles": {"VLLMSwiftCore"},
    "VLLMSwiftModels": MODELS,
    "VLLMSwiftEngine": MODELS | {"VLLMSwiftGrammar", "VLLMSwiftModels"},
    "VLLMSwiftBridge": MODELS
    | {"VLLMSwiftGrammar", "VLLMSwiftModels", "VLLMSwiftEngine", "CVLLMSwift"},
}


def outside_native(modules: dict[str, set[str]]) -> dict[str, set[str]]:
    return {name: found for name, found in modules.items() if f"{ENGINE}._ffi" not in name}


def swift_violations(seen: dict[str, set[str]]) -> list[str]:
    """Returns a line for each of our targets, headers or MLX that a target may not see."""
    known = SWIFT.keys() | set().union(*SWIFT.values())
    return sorted(
        f"{target} sees {name}"
        for target, names in seen.items()
        for name in names & known
        if name not in SWIFT[target] | {target}
    )


def test_python_imports_point_one_way() -> None:
    modules = python_packages(ROOT, PACKAGES)
    assert {INTEGRATIONS, ENGINE, f"{ENGINE}._ffi.library"} <= modules.keys()
    assert violations(modules, FORBIDDEN) == []


def test_only_ffi_touches_native_libraries() -> None:
    modules = outside_native(python_packages(ROOT, PACKAGES))
    assert violations(modules, {ENGINE: NATIVE}) == []


def test_swift_targets_see_what_is_below_them() -> None:
    folders = {path.name: path for path in (ROOT / "swift/Sources").iterdir() if path.is_dir()}
    assert folders.keys() == SWIFT.keys()
    seen = {name: swift_imports(folder) for name, folder in folders.items()}
    assert "mlx" in seen["CMLX"]
    assert "VLLMSwiftCore" in seen["VLLMSwiftFiles"]
    assert swift_violations(seen) == []


def declared_dependencies() -> dict[str, set[str]]:
    """Returns, of each target of Package.swift, tests included, the targets it is built after."""
    command = ["swift", "package", "dump-package"]
    package = json.loads(
        subprocess.run(command, cwd=ROOT / "swift", check=True, capture_output=True).stdout
    )
    return {
        target["name"]: {name for edge in target["dependencies"] for name in edge["byName"] if name}
        for target in package["targets"]
    }


def test_swift_targets_declare_what_they_import() -> None:
    """SwiftPM rebuilds a target for its declared dependencies alone.

    An import that is not declared compiles as long as something else brings the module, and then
    keeps the layout that its types had when the target was last built.
    """
    undeclared = {}
    for target, dependencies in declared_dependencies().items():
        folder = ROOT / "swift" / ("Tests" if target.endswith("Tests") else "Sources") / target
        undeclared[target] = (swift_imports(folder) & SWIFT.keys()) - dependencies - {target}
    assert SWIFT.keys() <= undeclared.keys()
    assert {target: names for target, names in undeclared.items() if names} == {}


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        (ENGINE, ["transformers", "huggingface_hub", "tokenizers", "jinja2", "mlx", "numpy"]),
        (f"{INTEGRATIONS}.langchain", ["transformers", "huggingface_hub", "tokenizers", "mlx"]),
    ],
)
def test_importing_loads_nothing_heavy(module: str, heavy: list[str], tmp_path: Path) -> None:
    code = (
        f"import sys, {module}\n"
        f"print(*[name for name in {[*heavy, '_cffi_backend']!r} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert result.stdout.split() == []


# ------------------------------------------------------------- the checks themselves can fail ---


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        (f"{ENGINE}._ffi.pump", "def f():\n    from ..engine import Engine", f"{ENGINE}.engine"),
        (f"{ENGINE}.models.hub", "from .. import engine", f"{ENGINE}.engine"),
        (f"{ENGINE}.config", "import langchain_core.messages", "langchain_core.messages"),
        (f"{INTEGRATIONS}.langchain.llms", "from vllm_swift_engine import _ffi", f"{ENGINE}._ffi"),
        (f"{INTEGRATIONS}.langchain.llms", "import cffi", "cffi"),
    ],
)
def test_an_import_that_points_the_other_way_is_seen(module: str, source: str, found: str) -> None:
    modules = {module: python_imports(source, module, is_package=False)}
    assert f"{module} imports {found}" in violations(modules, FORBIDDEN)


def test_a_package_resolves_its_relative_imports_from_itself() -> None:
    assert f"{ENGINE}.models.file" in python_imports("from . import file", f"{ENGINE}.models", True)


def test_a_swift_import_that_points_the_other_way_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a.swift").write_text("import VLLMSwiftCore\n@testable import VLLMSwiftEngine\n")
    (tmp_path / "b.cpp").write_text('#include "mlx/mlx.h"\n#include <vector>\n')
    seen = swift_imports(tmp_path)
    assert swift_violations({"VLLMSwiftFiles": seen}) == [
        "VLLMSwiftFiles sees VLLMSwiftEngine",
        "VLLMSwiftFiles sees mlx",
    ]
