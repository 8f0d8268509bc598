"""This project's engine, directly and through `ChatVLLMSwift`, with nothing set."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from itertools import count
from pathlib import Path

from benchmarks.engines import prompt_ids
from benchmarks.engines.serving import SHORT, Measured, Serving, conversations, rate
from benchmarks.machine import resident_bytes
from vllm_swift_engine import Engine as NativeEngine
from vllm_swift_engine import SamplingParams
from vllm_swift_integrations.langchain import ChatVLLMSwift
from vllm_swift_integrations.langchain.messages import to_chat


class Engine(Serving):
    def open(self, model: Path, context: int, rows: int) -> None:
        self._engine = NativeEngine(model, device="cpu")
        self.chat = ChatVLLMSwift(model=str(model), device="cpu", temperature=0, ignore_eos=True)

    def together(self, prompts: list[list[int]], tokens: int) -> int:
        outputs = self._engine.generate(prompts, _greedy(tokens))
        return sum(output.usage.completion_tokens for output in outputs)

    def computed(self, prompts: list[list[int]]) -> int:
        before = self._engine.stats().prompt_tokens
        self._engine.generate(prompts, _greedy(1))
        return self._engine.stats().prompt_tokens - before

    async def arrivals(self, prompt: list[int], tokens: int) -> AsyncGenerator[None]:
        async with self._engine.astream(prompt, _greedy(tokens)) as chunks:
            async for chunk in chunks:
                if chunk.token_ids:
                    yield

    def write_cache(self) -> None:
        for seed in count(7000, 16):
            stats = self._engine.stats()
            if stats.kv_blocks_used + stats.kv_blocks_cached >= stats.kv_blocks:
                return
            self.together([prompt_ids(512, seed + row) for row in range(16)], 1)

    def alone_batch(self, requests: int, tokens: int, seed: int) -> float:
        """The engine on the prompts of `chat_batch`."""
        prompts = [
            self._engine.apply_chat_template(to_chat(asked))
            for asked in conversations(requests, seed)
        ]
        return rate(lambda: self.together(prompts, tokens), requests * tokens)

    def alone_stream(self, tokens: int, seed: int) -> float:
        """The engine on the prompt of `chat_stream`."""
        (asked,) = conversations(1, seed)
        prompt = self._engine.apply_chat_template(to_chat(asked))

        def read() -> int:
            with self._engine.stream(prompt, _greedy(tokens)) as chunks:
                return sum(len(chunk.token_ids) for chunk in chunks)

        return rate(read, tokens)

    def many(self, requests: int, tokens: int, seed: int) -> Measured:
        """Tokens per second of very many requests at once, and the MB that the next as many add."""
        self.write_cache()
        self.at_once(requests, tokens, seed + 100)
        before = resident_bytes()
        prompts = [prompt_ids(SHORT, seed * requests + row) for row in range(requests)]
        reached = rate(lambda: self.together(prompts, tokens), requests * tokens, least=1)
        grown = max(resident_bytes().now - before.now, resident_bytes().peak - before.peak)
        return {"the engine": reached, "growth of memory": grown / 1e6}


def _greedy(max_tokens: int) -> SamplingParams:
    return SamplingParams(temperature=0.0, max_tokens=max_tokens, ignore_eos=True)
