"""This project's engine through its Python API."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.engines import EngineUnderTest, Unavailable, prompt_ids
from vllm_swift_engine import Engine as NativeEngine
from vllm_swift_engine import SamplingParams


class Engine(EngineUnderTest):
    name = "ours"
    package = "vllm_swift_engine"

    def load(self, model: Path, context: int, rows: int) -> None:
        self._engine = NativeEngine(model, device="cpu", max_model_len=context)

    def first_token(self, text: str) -> None:
        with self._engine.stream(text, _greedy(2)) as stream:
            next(iter(stream))

    def prefill(self, tokens: int, seed: int) -> float:
        start = time.perf_counter()
        self._engine.generate(prompt_ids(tokens, seed), _greedy(1))
        return time.perf_counter() - start

    def decode(self, context: int, tokens: int, seed: int) -> float:
        arrivals = []
        with self._engine.stream(prompt_ids(context, seed), _greedy(tokens + 1)) as stream:
            for chunk in stream:
                if chunk.token_ids:
                    arrivals.append((time.perf_counter(), len(chunk.token_ids)))
        (first, first_tokens), (last, _) = arrivals[0], arrivals[-1]
        produced = sum(count for _, count in arrivals)
        if produced != tokens + 1:
            raise Unavailable(f"the answer stopped after {produced} of {tokens + 1} tokens")
        return (produced - first_tokens) / (last - first)

    def decode_rows(self, rows: int, context: int, tokens: int, seed: int) -> float:
        """What the whole job takes longer than the same job cut off after one token."""
        prompts = [prompt_ids(context, seed * rows + row) for row in range(rows)]
        start = time.perf_counter()
        self._engine.generate(prompts, _greedy(1))
        middle = time.perf_counter()
        self._engine.generate(prompts, _greedy(tokens + 1))
        prefill, whole = middle - start, time.perf_counter() - middle
        if whole <= prefill:
            raise Unavailable("the machine is too noisy: decoding took less than no time")
        return rows * tokens / (whole - prefill)


def _greedy(max_tokens: int) -> SamplingParams:
    return SamplingParams(temperature=0.0, max_tokens=max_tokens)
