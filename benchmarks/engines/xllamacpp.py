"""llama.cpp through the `xllamacpp` wheel, which runs llama.cpp's server context in the process.

Single streams are timed by llama.cpp's own clock, which sees neither JSON nor Python.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import xllamacpp

from benchmarks.engines import EngineUnderTest, prompt_ids
from benchmarks.engines.xllamacpp_server import checked, parameters


class Engine(EngineUnderTest):
    name = "llama.cpp"
    package = "xllamacpp"

    def load(self, model: Path, context: int, rows: int) -> None:
        params = parameters(model, context, rows)
        params.cache_prompt = False
        params.cache_ram_mib = 0
        params.warmup = False
        self._server = xllamacpp.Server(params)

    def first_token(self, text: str) -> None:
        self._complete(text, 1)

    def prefill(self, tokens: int, seed: int) -> float:
        timings = self._complete(prompt_ids(tokens, seed), 1)["timings"]
        assert timings["prompt_n"] == tokens
        return float(timings["prompt_ms"]) / 1000

    def decode(self, context: int, tokens: int, seed: int) -> float:
        timings = self._complete(prompt_ids(context, seed), tokens + 1)["timings"]
        assert timings["prompt_n"] == context
        assert timings["predicted_n"] == tokens + 1
        return float(tokens * 1000 / timings["predicted_ms"])

    def decode_rows(self, rows: int, context: int, tokens: int, seed: int) -> float:
        """Each slot reads its prompt first; then all of them decode on from there, at once."""
        prompts = [prompt_ids(context, seed * rows + row) for row in range(rows)]
        with ThreadPoolExecutor(rows) as pool:

            def complete(row: int, max_tokens: int) -> dict[str, Any]:
                return self._complete(prompts[row], max_tokens, id_slot=row, cache_prompt=True)

            list(pool.map(lambda row: complete(row, 1), range(rows)))
            answers = list(pool.map(lambda row: complete(row, tokens + 1), range(rows)))
        slowest = max(answer["timings"]["predicted_ms"] for answer in answers)
        return float(rows * tokens * 1000 / slowest)

    def _complete(self, prompt: str | list[int], max_tokens: int, **more: Any) -> dict[str, Any]:
        request = {
            "prompt": prompt,
            "n_predict": max_tokens,
            "temperature": 0,
            "cache_prompt": False,
            "ignore_eos": True,
            **more,
        }
        return checked(self._server.handle_completions(request), "timings")
