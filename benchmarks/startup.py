"""What a user waits for before the first request: imports and the engine's start.

Each number is the best of several fresh processes; the time to start Python itself is not in it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.engines import KINDS
from benchmarks.report import Row

_IMPORT = """
import sys, time
start = time.perf_counter()
import {module}
print(time.perf_counter() - start)
"""
_LANGCHAIN = "from langchain_core.language_models import BaseChatModel, LLM\n" + _IMPORT.format(
    module="vllm_swift_integrations.langchain"
)
_ENGINE = """
import sys, time
from vllm_swift_engine import Engine
start = time.perf_counter()
engine = Engine(sys.argv[1], device="cpu")
engine.tokenize("ready")
print(time.perf_counter() - start)
engine.close()
"""


def measure(model: Path, goes: int) -> list[Row]:
    rows = [
        Row("import vllm_swift_engine", "s", limit=0.12),
        Row("import vllm_swift_integrations.langchain, after langchain_core", "s", limit=0.1),
        Row("engine start, warm", "s", limit=0.5),
        Row("engine start, first sight of the file", "s", limit=2.5),
    ]
    imports, langchain, warm, cold = rows
    imports.ours = _best(imports, _IMPORT.format(module="vllm_swift_engine"), goes)
    for peer, kind in (("llama.cpp", "xllamacpp"), ("mlx-lm", "mlx-lm")):
        package = KINDS[kind].package
        value = _best(imports, _IMPORT.format(module=package), goes)
        if value is not None:
            imports.peers[peer] = value
    langchain.ours = _best(langchain, _LANGCHAIN, goes)
    with tempfile.TemporaryDirectory() as cache:
        _run(_ENGINE, model, cache)
        warm.ours = _best(warm, _ENGINE, goes, model, cache)
    cold.ours = _best(cold, _ENGINE, max(2, goes // 2), model)
    return rows


def _best(row: Row, code: str, goes: int, model: Path = Path(), cache: str = "") -> float | None:
    """The shortest of `goes` runs. Without a cache folder each run has an empty one."""
    times = []
    for _ in range(goes):
        with tempfile.TemporaryDirectory() as empty:
            result = _run(code, model, cache or empty)
        if result.returncode != 0:
            row.note(result.stderr.strip().splitlines()[-1])
            return None
        times.append(float(result.stdout.split()[-1]))
    return min(times)


def _run(code: str, model: Path, cache: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "VLLM_SWIFT_CACHE": cache}
    return subprocess.run(
        [sys.executable, "-c", code, str(model)], env=environment, capture_output=True, text=True
    )
