"""The bits of a row depend on its sequence alone, not on what runs beside it or how it is split."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from vllm_swift_engine import Engine, SamplingParams

pytestmark = pytest.mark.model

VOCABULARY = 49152


@pytest.fixture(scope="module")
def engine(smollm2: Path) -> Iterator[Engine]:
    with Engine(smollm2, device="cpu", max_model_len=2048) as engine:
        if engine.info.kernels == "reference":
            pytest.skip("stock MLX ops do not promise this")
        yield engine


@pytest.fixture(scope="module")
def alone_engine(smollm2: Path) -> Iterator[Engine]:
    """Another one, so that neither finds in its prefix cache what the other has computed."""
    with Engine(smollm2, device="cpu", max_model_len=2048, max_num_seqs=1, share=False) as engine:
        yield engine


def _prompt(rng: random.Random, length: int) -> list[int]:
    return [rng.randrange(20, VOCABULARY) for _ in range(length)]


def test_logits_do_not_depend_on_what_follows(engine: Engine) -> None:
    tokens = _prompt(random.Random(1), 300)
    whole = np.asarray(engine.logits(tokens))
    for length in (1, 2, 31, 32, 33, 127, 128, 129, 200, 299):
        part = np.asarray(engine.logits(tokens[:length]))
        assert np.array_equal(part, whole[:length]), length


@pytest.mark.parametrize("seed", range(6))
def test_a_batch_gives_every_request_what_it_gets_alone(
    engine: Engine, alone_engine: Engine, seed: int
) -> None:
    rng = random.Random(seed)
    prompts = [_prompt(rng, rng.choice((1, 5, 31, 64, 200, 700))) for _ in range(rng.randint(3, 9))]
    params = [
        SamplingParams(
            max_tokens=rng.randint(1, 24),
            temperature=rng.choice((0.0, 0.7, 1.3)),
            top_p=rng.choice((1.0, 0.9)),
            top_k=rng.choice((0, 40)),
            seed=rng.randrange(1 << 40),
        )
        for _ in prompts
    ]
    alone = [
        alone_engine.generate(prompt, param).outputs[0].token_ids
        for prompt, param in zip(prompts, params, strict=True)
    ]
    together = [output.outputs[0].token_ids for output in engine.generate(prompts, params)]
    assert together == alone


def test_requests_that_arrive_at_any_time_get_what_they_get_alone(
    engine: Engine, alone_engine: Engine
) -> None:
    rng = random.Random(99)
    work = [
        (_prompt(rng, rng.randint(1, 400)), SamplingParams(max_tokens=rng.randint(1, 30), seed=i))
        for i in range(24)
    ]
    alone = [alone_engine.generate(*one).outputs[0].token_ids for one in work]
    with ThreadPoolExecutor(6) as threads:
        together = list(threads.map(lambda one: engine.generate(*one).outputs[0].token_ids, work))
    assert together == alone
