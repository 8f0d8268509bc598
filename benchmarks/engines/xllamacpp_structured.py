"""llama.cpp's server from the `xllamacpp` wheel, with its own grammar made of the schema."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import xllamacpp

from benchmarks.engines.structured import Structured, question, schema
from benchmarks.engines.xllamacpp_server import checked, parameters

HELD = {"response_format": {"type": "json_schema", "json_schema": {"schema": schema()}}}
FREE = {"ignore_eos": True}


class Engine(Structured):
    def load(self, model: Path, context: int, rows: int) -> None:
        self._server = xllamacpp.Server(parameters(model, context, rows))
        self.answers([0], True, 1)

    def answers(self, numbers: list[int], held: bool, tokens: int) -> list[tuple[str, int]]:
        def complete(number: int) -> tuple[str, int]:
            request = {
                "messages": question(number),
                "max_tokens": tokens,
                "temperature": 0,
                **(HELD if held else FREE),
            }
            answer = checked(self._server.handle_chat_completions(request), "choices")
            text = answer["choices"][0]["message"]["content"]
            return text, answer["usage"]["completion_tokens"]

        with ThreadPoolExecutor(len(numbers)) as pool:
            return list(pool.map(complete, numbers))
