"""llama.cpp through `llama-cpp-python`, worth installing where it is built for the machine.

`CMAKE_ARGS=-DGGML_NATIVE=ON pip install llama-cpp-python` builds it with every instruction set
that the machine has; the xllamacpp wheel stops at AVX2.
"""

from __future__ import annotations

import time
from pathlib import Path

import llama_cpp

from benchmarks.engines import THREADS, EngineUnderTest, Unavailable, prompt_ids


class Engine(EngineUnderTest):
    name = "llama.cpp"
    package = "llama_cpp"

    def load(self, model: Path, context: int, rows: int) -> None:
        if rows > 1:
            raise Unavailable("llama-cpp-python has no batch of requests")
        self._llama = llama_cpp.Llama(
            str(model),
            n_ctx=context,
            n_batch=2048,
            n_threads=THREADS,
            n_threads_batch=THREADS,
            verbose=False,
        )

    def first_token(self, text: str) -> None:
        self._start(self._llama.tokenize(text.encode()))

    def prefill(self, tokens: int, seed: int) -> float:
        start = time.perf_counter()
        self._start(prompt_ids(tokens, seed))
        return time.perf_counter() - start

    def decode(self, context: int, tokens: int, seed: int) -> float:
        token = self._start(prompt_ids(context, seed))
        start = time.perf_counter()
        for _ in range(tokens):
            self._llama.eval([token])
            token = self._llama.sample(temp=0.0)
        return tokens / (time.perf_counter() - start)

    def decode_rows(self, rows: int, context: int, tokens: int, seed: int) -> float:
        raise Unavailable("llama-cpp-python has no batch of requests")

    def _start(self, prompt: list[int]) -> int:
        self._llama.reset()
        self._llama.eval(prompt)
        return int(self._llama.sample(temp=0.0))
