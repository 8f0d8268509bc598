"""llama.cpp through `llama-cpp-python`, worth installing where it is built for the machine.

`CMAKE_ARGS="-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF" pip install llama-cpp-python` builds it with every
instruction set that the machine has; the xllamacpp wheel stops at AVX2. Several rows go through its
bindings of llama.cpp's own batches: `Llama` has one sequence.
"""

from __future__ import annotations

import time
from pathlib import Path

import llama_cpp

from benchmarks.engines import THREADS, EngineUnderTest, prompt_ids

BATCH = 2048


class Engine(EngineUnderTest):
    name = "llama.cpp"
    package = "llama_cpp"

    def load(self, model: Path, context: int, rows: int) -> None:
        self._llama = llama_cpp.Llama(
            str(model),
            n_ctx=context,
            n_batch=BATCH,
            n_threads=THREADS,
            n_threads_batch=THREADS,
            flash_attn=True,
            verbose=False,
        )
        self._rows = _Rows(self._llama, context, rows) if rows > 1 else None

    def first_token(self, text: str) -> None:
        self._start(self._llama.tokenize(text.encode()))

    def prefill(self, tokens: int, seed: int) -> float:
        start = time.perf_counter()
        self._start(prompt_ids(tokens, seed))
        return time.perf_counter() - start

    def decode(self, context: int, tokens: int, seed: int) -> float:
        token = self._start(prompt_ids(context, seed))
        llama_cpp.llama_perf_context_reset(self._llama.ctx)
        for _ in range(tokens):
            self._llama.eval([token])
            token = self._llama.sample(temp=0.0)
        times = llama_cpp.llama_perf_context(self._llama.ctx)
        assert times.n_eval == tokens
        return float(tokens * 1000 / times.t_eval_ms)

    def decode_rows(self, rows: int, context: int, tokens: int, seed: int) -> float:
        assert self._rows is not None
        return self._rows.decode(
            [prompt_ids(context, seed * rows + row) for row in range(rows)], tokens
        )

    def _start(self, prompt: list[int]) -> int:
        self._llama.reset()
        self._llama.eval(prompt)
        return int(self._llama.sample(temp=0.0))


class _Rows:
    """A context of several sequences on an open model."""

    def __init__(self, llama: llama_cpp.Llama, context: int, rows: int) -> None:
        params = llama.context_params
        params.n_ctx = context * rows
        params.n_seq_max = rows
        self._context = llama_cpp.llama_init_from_model(llama.model, params)
        self._greedy = llama_cpp.llama_sampler_init_greedy()
        self._batch = llama_cpp.llama_batch_init(BATCH, 0, 1)

    def decode(self, prompts: list[list[int]], tokens: int) -> float:
        """Tokens per second, all told, after every prompt has been read."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)
        last = [
            self._step([(row, at, token) for at, token in enumerate(prompt)])[-1]
            for row, prompt in enumerate(prompts)
        ]
        start = time.perf_counter()
        for done in range(tokens):
            last = self._step(
                [(row, len(prompts[row]) + done, token) for row, token in enumerate(last)]
            )
        return len(prompts) * tokens / (time.perf_counter() - start)

    def _step(self, entries: list[tuple[int, int, int]]) -> list[int]:
        """The tokens that follow the last entry of every row; an entry is row, position, token."""
        ends = {row: index for index, (row, _, _) in enumerate(entries)}
        batch = self._batch
        batch.n_tokens = len(entries)
        for index, (row, position, token) in enumerate(entries):
            batch.token[index] = token
            batch.pos[index] = position
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = row
            batch.logits[index] = ends[row] == index
        if status := llama_cpp.llama_decode(self._context, batch):
            raise RuntimeError(f"llama_decode returned {status}")
        return [
            llama_cpp.llama_sampler_sample(self._greedy, self._context, index)
            for index in ends.values()
        ]
