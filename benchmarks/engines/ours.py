"""This project's engine through its Python API."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from benchmarks.engines import EngineUnderTest, Unavailable, prompt_ids
from vllm_swift_engine import Engine as NativeEngine
from vllm_swift_engine import SamplingParams


class Engine(EngineUnderTest):
    name = "ours"
    package = "vllm_swift_engine"

    def load(self, model: Path, context: int, rows: int) -> None:
        # As much KV cache as the others have, and what whole blocks of 32 tokens leave unused.
        self._engine = NativeEngine(
            model,
            device="cpu",
            max_model_len=context * rows,
            kv_cache_tokens=(context + 2 * 32) * rows,
        )

    def kernels(self) -> str:
        return self._engine.info.kernels

    def first_token(self, text: str) -> None:
        with self._engine.stream(text, _greedy(2)) as stream:
            next(iter(stream))

    def prefill(self, tokens: int, seed: int) -> float:
        start = time.perf_counter()
        self._engine.generate(prompt_ids(tokens, seed), _greedy(1))
        return time.perf_counter() - start

    def decode(self, context: int, tokens: int, seed: int) -> float:
        return asyncio.run(self._decode([prompt_ids(context, seed)], tokens))

    def decode_rows(self, rows: int, context: int, tokens: int, seed: int) -> float:
        prompts = [prompt_ids(context, seed * rows + row) for row in range(rows)]
        # So that all decode at once: beside streams that run, a prompt is read a little at a time.
        self._engine.generate(prompts, _greedy(1))
        return asyncio.run(self._decode(prompts, tokens))

    async def _decode(self, prompts: list[list[int]], tokens: int) -> float:
        """Tokens per second while every request decodes: none still reads, none has ended."""
        answers = await asyncio.gather(*(self._arrivals(prompt, tokens + 1) for prompt in prompts))
        start = max(answer[0][0] for answer in answers)
        end = min(answer[-1][0] for answer in answers)
        if end <= start:
            raise Unavailable("requests were served one after another")
        produced = sum(count for answer in answers for at, count in answer if start < at <= end)
        return produced / (end - start)

    async def _arrivals(self, prompt: list[int], tokens: int) -> list[tuple[float, int]]:
        """When tokens of the answer came, and how many at a time."""
        arrivals = []
        async for chunk in self._engine.astream(prompt, _greedy(tokens)):
            if chunk.token_ids:
                arrivals.append((time.perf_counter(), len(chunk.token_ids)))
        produced = sum(count for _, count in arrivals)
        if produced != tokens:
            raise Unavailable(f"the answer stopped after {produced} of {tokens} tokens")
        return arrivals


def _greedy(max_tokens: int) -> SamplingParams:
    return SamplingParams(temperature=0.0, max_tokens=max_tokens, ignore_eos=True)
