"""With the reference ops, greedy answers of SmolLM2 are mlx-lm's, token by token."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx_lm.generate import generate_step

from tests.parity.engines import opened
from vllm_swift_engine import Engine, SamplingParams

pytestmark = [pytest.mark.model, pytest.mark.parity]

NEAR_TIE = 0.01  # logits this close may change places between two orders of summation
PROMPTS = [
    "The capital of France is",
    "Once upon a time, in a village by the sea,",
    "def fibonacci(n):",
    "Water boils at",
    "<|im_start|>user\nName three colours.<|im_end|>\n<|im_start|>assistant\n",
    "1, 1, 2, 3, 5, 8,",
    "Die Hauptstadt von Deutschland ist",
    "The quick brown fox",
]


@dataclass
class Step:
    token: int
    gap: float  # between the two largest logits


@pytest.fixture(scope="module")
def engine(smollm2: Path) -> Iterator[Engine]:
    with opened(smollm2, "reference") as engine:
        yield engine


@pytest.fixture(scope="module")
def answers(
    engine: Engine, smollm2_mlx: Any, request: pytest.FixtureRequest
) -> list[tuple[list[int], list[Step]]]:
    """Ours and mlx-lm's for each prompt. Both use one thread, so they run side by side."""
    length = 64 if request.config.getoption("--long") else 16
    params = SamplingParams(temperature=0.0, max_tokens=length)
    with ThreadPoolExecutor(1) as pool:
        ours = pool.submit(engine.generate, PROMPTS, params)
        prompts = [engine.tokenize(prompt) for prompt in PROMPTS]
        theirs = [_mlx_answer(smollm2_mlx, prompt, length) for prompt in prompts]
        outputs = ours.result()
    return [
        (output.outputs[0].token_ids, answer)
        for output, answer in zip(outputs, theirs, strict=True)
    ]


def _mlx_answer(model: Any, prompt: list[int], length: int) -> list[Step]:
    steps = []
    for token, logprobs in generate_step(mx.array(prompt), model, max_tokens=length):
        second, first = mx.topk(logprobs, 2).tolist()
        steps.append(Step(int(token), abs(first - second)))
    return steps


@pytest.mark.parametrize("index", range(len(PROMPTS)), ids=[prompt[:24] for prompt in PROMPTS])
def test_greedy_answers_are_mlx_lms(
    index: int, answers: list[tuple[list[int], list[Step]]], engine: Engine
) -> None:
    ours, theirs = answers[index]
    expected = [step.token for step in theirs]
    ours, expected = (_until_special(engine, tokens) for tokens in (ours, expected))
    if ours == expected:
        return
    equal = (one == other for one, other in zip(ours, expected, strict=False))
    same = sum(takewhile(bool, equal))
    assert theirs[same].gap < NEAR_TIE, (
        f"mlx-lm differs from token {same} on, by {theirs[same].gap:.3f}: "
        f"{engine.detokenize(ours)!r} instead of {engine.detokenize(expected)!r}"
    )


def _until_special(engine: Engine, tokens: list[int]) -> list[int]:
    """Up to the first special token, which ends our answers and not mlx-lm's here."""
    return list(takewhile(lambda token: engine.detokenize([token]) != "", tokens))
