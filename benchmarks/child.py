"""The parent's end of a worker process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.engines import Unavailable

ROOT = Path(__file__).resolve().parent.parent


class Child:
    """A worker that runs one engine; leaving the `with` block ends it."""

    def __init__(self, kind: str, model: Path) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115, it lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", kind, str(model)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._answer()

    def ask(self, method: str, *arguments: Any) -> Any:
        """Calls a method of the worker or its engine. Raises Unavailable with the reason."""
        assert self._process.stdin is not None
        try:
            print(json.dumps([method, *arguments]), file=self._process.stdin, flush=True)
        except BrokenPipeError as error:
            raise Unavailable(self._epitaph()) from error
        return self._answer()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Unavailable(self._epitaph())
        answer = json.loads(line)
        if "value" not in answer:
            raise Unavailable(answer.get("unavailable") or answer["error"])
        return answer["value"]

    def _epitaph(self) -> str:
        status = self._process.wait()
        self._log.seek(0)
        last = (self._log.read().strip().splitlines() or ["no message"])[-1]
        return f"its process ended with status {status}: {last}"
