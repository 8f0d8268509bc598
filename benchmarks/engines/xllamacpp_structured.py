"""llama.cpp's server from the `xllamacpp` wheel, with its own grammar made of the schema."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import xllamacpp

from benchmarks.engines import THREADS
from benchmarks.engines.structured import Structured, question, schema

HELD = {"response_format": {"type": "json_schema", "json_schema": {"schema": schema()}}}
FREE = {"ignore_eos": True}


class Engine(Structured):
    def load(self, model: Path, context: int, rows: int) -> None:
        params = xllamacpp.CommonParams()
        params.model.path = str(model)
        params.n_ctx = context * rows
        params.n_parallel = rows
        params.cpuparams.n_threads = THREADS
        params.cpuparams_batch.n_threads = THREADS
        params.verbosity = -1
        self._server = xllamacpp.Server(params)
        self.answers([0], True, 1)

    def answers(self, numbers: list[int], held: bool, tokens: int) -> list[tuple[str, int]]:
        def complete(number: int) -> tuple[str, int]:
            answer: dict[str, Any] = self._server.handle_chat_completions(
                {
                    "messages": question(number),
                    "max_tokens": tokens,
                    "temperature": 0,
                    **(HELD if held else FREE),
                }
            )
            if "choices" not in answer:
                raise RuntimeError(f"llama.cpp answered {answer}")
            text = answer["choices"][0]["message"]["content"]
            return text, answer["usage"]["completion_tokens"]

        with ThreadPoolExecutor(len(numbers)) as pool:
            return list(pool.map(complete, numbers))
