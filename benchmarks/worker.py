"""The child process in which one engine runs, so that its memory is its own.

`python -m benchmarks.worker ENGINE MODEL` reads one JSON request a line, `[method, arguments]`, and
answers each with one JSON line: `{"value": ...}`, `{"unavailable": reason}` or `{"error": reason}`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.engines import KINDS, EngineUnderTest, Opened, Unavailable
from benchmarks.machine import resident_bytes


class Worker:
    """What a parent may ask for: the engine's own methods, and three about the process."""

    def __init__(self, kind: str, model: Path) -> None:
        self._model = model
        start = time.perf_counter()
        self._engine: Opened = KINDS[kind].make()
        self._import_s = time.perf_counter() - start
        self._before_open = resident_bytes().now
        self._opened_at = 0.0

    def load(self, context: int, rows: int) -> None:
        self._opened_at = time.perf_counter()
        self._engine.load(self._model, context, rows)

    def first_token(self, text: str) -> dict[str, float]:
        assert isinstance(self._engine, EngineUnderTest)
        self._engine.first_token(text)
        return {"import": self._import_s, "load": time.perf_counter() - self._opened_at}

    def memory(self) -> dict[str, int]:
        resident = resident_bytes()
        return {
            "now": resident.now,
            "peak": resident.peak,
            "growth": resident.now - self._before_open,
            "peak growth": resident.peak - self._before_open,
        }

    def answer(self, method: str, arguments: list[Any]) -> dict[str, Any]:
        owner = self if hasattr(self, method) else self._engine
        try:
            return {"value": getattr(owner, method)(*arguments)}
        except Unavailable as reason:
            return {"unavailable": str(reason)}
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"}


def main() -> None:
    kind, model = sys.argv[1:]
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # an engine's own prints are no answers
    try:
        worker = Worker(kind, Path(model))
    except ImportError as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=answers, flush=True)
        return
    print(json.dumps({"value": "ready"}), file=answers, flush=True)
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        print(json.dumps(worker.answer(method, arguments)), file=answers, flush=True)


if __name__ == "__main__":
    main()
