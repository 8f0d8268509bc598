"""mlx-lm on MLX's CPU backend, with the same weights in MLX's quantized form.

Its decode cases start from a KV cache filled with random keys and values: reading a prompt of 2,048
tokens takes MLX's CPU backend minutes on x86, and what the cache holds does not change the speed.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx_lm import batch_generate, load
from mlx_lm.generate import generate_step
from mlx_lm.models.cache import make_prompt_cache

from benchmarks.engines import EngineUnderTest, Unavailable, prompt_ids
from benchmarks.mlx_folder import cached

PATIENCE_S = 120.0  # prompts that take longer are left out


class Engine(EngineUnderTest):
    name = "mlx-lm"
    package = "mlx_lm"

    def load(self, model: Path, context: int, rows: int) -> None:
        loaded = load(str(cached(model)))
        self._model, self._tokenizer = loaded[0], loaded[1]
        self._prefill_rate: float | None = None

    def first_token(self, text: str) -> None:
        self._generate(self._tokenizer.encode(text), 1)

    def prefill(self, tokens: int, seed: int) -> float:
        self._check_patience(tokens)
        start = time.perf_counter()
        self._generate(prompt_ids(tokens, seed), 1)
        taken = time.perf_counter() - start
        self._prefill_rate = tokens / taken
        return taken

    def decode(self, context: int, tokens: int, seed: int) -> float:
        cache = self._filled_cache(context - 1)
        arrivals = self._generate(prompt_ids(1, seed), tokens + 1, cache)
        return tokens / (arrivals[-1] - arrivals[0])

    def decode_rows(self, rows: int, context: int, tokens: int, seed: int) -> float:
        prompts = [prompt_ids(1, seed * rows + row) for row in range(rows)]
        caches = [self._filled_cache(context - 1) for _ in range(rows)]
        answers = batch_generate(
            self._model, self._tokenizer, prompts, prompt_caches=caches, max_tokens=tokens + 1
        )
        return float(answers.stats.generation_tps)

    def _filled_cache(self, tokens: int) -> list[Any]:
        cache: list[Any] = make_prompt_cache(self._model)
        attention = self._model.layers[0].self_attn
        shape = (1, attention.n_kv_heads, tokens, attention.head_dim)
        for layer in cache:
            layer.update_and_fetch(mx.random.normal(shape), mx.random.normal(shape))
        mx.eval([layer.state for layer in cache])
        return cache

    def _check_patience(self, tokens: int) -> None:
        if self._prefill_rate and tokens / self._prefill_rate > PATIENCE_S:
            raise Unavailable(
                f"left out: reading {tokens} tokens takes {tokens / self._prefill_rate:.0f} s"
            )

    def _generate(self, prompt: list[int], max_tokens: int, cache: Any = None) -> list[float]:
        """The time at which each token arrived."""
        steps = generate_step(
            mx.array(prompt), self._model, max_tokens=max_tokens, prompt_cache=cache
        )
        return [time.perf_counter() for _ in steps]
