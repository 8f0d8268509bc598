"""This project's engine, with answers held to a schema."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.engines.structured import Structured, question, schema
from vllm_swift_engine import Engine as NativeEngine
from vllm_swift_engine import SamplingParams
from vllm_swift_engine.grammar import StructuredOutputsParams


class Engine(Structured):
    def load(self, model: Path, context: int, rows: int) -> None:
        self._engine = NativeEngine(
            model, device="cpu", max_model_len=context, kv_cache_tokens=context * rows
        )
        start = time.perf_counter()
        self._ask([0], _held(0), 1)
        self._first = time.perf_counter() - start

    def answers(self, numbers: list[int], held: bool, tokens: int) -> list[tuple[str, int]]:
        return self._ask(numbers, _held(0) if held else None, tokens)

    def _ask(
        self, numbers: list[int], outputs: StructuredOutputsParams | None, tokens: int
    ) -> list[tuple[str, int]]:
        params = SamplingParams(
            temperature=0,
            max_tokens=tokens,
            structured_outputs=outputs,
            ignore_eos=outputs is None,
        )
        prompts = [self._engine.apply_chat_template(question(number)) for number in numbers]
        results = self._engine.generate(prompts, params)
        return [(result.text, result.usage.completion_tokens) for result in results]

    def compile(self, seed: int) -> float:
        """Milliseconds to submit a request with a new schema: compiling is done by then."""
        params = SamplingParams(temperature=0, max_tokens=1, structured_outputs=_held(seed + 1))
        start = time.perf_counter()
        stream = self._engine.stream("A", params)
        elapsed = time.perf_counter() - start
        stream.close()
        return 1e3 * elapsed

    def first(self, _: int) -> float:
        """Milliseconds to the first token of the first request with a grammar."""
        return 1e3 * self._first

    def mask(self, seed: int) -> float:
        """Mean microseconds of a mask."""
        before = self._engine.stats()
        self.answers([seed], True, 320)
        after = self._engine.stats()
        return (after.mask_us - before.mask_us) / (after.masks - before.masks)

    def masks_of_a_token(self, seed: int) -> float:
        """Microseconds of masks over the tokens of an answer, forced ones included."""
        before = self._engine.stats().mask_us
        ((_, tokens),) = self.answers([seed], True, 320)
        return (self._engine.stats().mask_us - before) / tokens


def _held(seed: int) -> StructuredOutputsParams:
    return StructuredOutputsParams(json=schema(seed), disable_any_whitespace=True)
