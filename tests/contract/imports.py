"""Reads who imports whom, in Python and in Swift, from the sources alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

Imports = dict[str, set[str]]


def python_imports(source: str, module: str, is_package: bool) -> set[str]:
    """Returns the absolute names that a module imports, lazily or not.

    `from a import b` counts as `a` and as `a.b`, since b may be a module.
    """
    package = module if is_package else module.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def python_packages(root: Path, packages: Mapping[str, str]) -> Imports:
    """Returns each module's imports; `packages` maps an import name to its folder."""
    modules: Imports = {}
    for package, folder in packages.items():
        for path in sorted((root / folder).rglob("*.py")):
            parts = [package, *path.relative_to(root / folder).with_suffix("").parts]
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            modules[name] = python_imports(path.read_text(), name, is_package)
    return modules


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def violations(modules: Imports, forbidden: Mapping[str, set[str]]) -> list[str]:
    """Returns a line for each import that a rule, "modules inside X must not import Y", forbids."""
    return sorted(
        f"{module} imports {name}"
        for module, names in modules.items()
        for package, banned in forbidden.items()
        if inside(module, package)
        for name in names
        if any(inside(name, one) for one in banned)
    )


def swift_imports(target: Path) -> set[str]:
    """Returns what a target's Swift files import and its C files include from outside."""
    found: set[str] = set()
    for path in target.rglob("*"):
        if path.suffix == ".swift":
            found |= set(
                re.findall(r"^\s*(?:@\w+\s+|\w+\s+)?import\s+(\w+)", path.read_text(), re.MULTILINE)
            )
        elif path.suffix in {".c", ".cpp", ".h", ".hpp", ".metal", ".cu"}:
            found |= set(includes(path.read_text()))
    return found


def includes(source: str) -> Iterator[str]:
    """Yields the name of each header that a source asks for; all of MLX's are `mlx`."""
    for header in re.findall(r'^\s*#\s*include\s+["<]([^">]+)[">]', source, re.MULTILINE):
        yield "mlx" if header.startswith("mlx/") else Path(header).name
