"""Many requests at once on a GPU, by stock MLX ops; skipped where MLX finds none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from tests.parity.checkpoints import WIDE, write_folder
from tests.parity.engines import mlx_logits, needs_gpu
from vllm_swift_engine import Engine, SamplingParams
from vllm_swift_engine.errors import UnsupportedError

pytestmark = [needs_gpu, pytest.mark.parity]

# Keys and values are kept in 16 bits, and mlx-lm's in float32: so far a token may be from its best.
NEAR = 0.05
GREEDY = SamplingParams(temperature=0.0, max_tokens=24, ignore_eos=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("wide"), WIDE)


@pytest.fixture
def engine(model: Path) -> Iterator[Engine]:
    with Engine(model, device="gpu", share=False) as engine:
        yield engine


def _prompt(seed: int, length: int) -> list[int]:
    return np.random.default_rng(seed).integers(1, 250, length).tolist()


def _assert_greedy(model: Path, prompt: list[int], answer: list[int]) -> None:
    """By mlx-lm each token is the most likely one, or nearly."""
    assert len(answer) == GREEDY.max_tokens
    logits = mlx_logits(model, prompt + answer)[len(prompt) - 1 : -1]
    chosen = logits[np.arange(len(answer)), answer]
    assert np.all(chosen >= logits.max(-1) - NEAR)


def test_a_batch_answers_as_mlx_lm_would(engine: Engine, model: Path) -> None:
    assert engine.info.device == "gpu"
    prompts = [_prompt(seed, length) for seed, length in enumerate((1, 2, 31, 64, 200, 700, 9, 18))]
    for prompt, output in zip(prompts, engine.generate(prompts, GREEDY), strict=True):
        _assert_greedy(model, prompt, output.outputs[0].token_ids)


def test_requests_share_what_is_computed(engine: Engine, model: Path) -> None:
    shared = _prompt(0, 320)
    prompts = [shared + _prompt(seed, 5) for seed in range(1, 33)]
    outputs = engine.generate(prompts, GREEDY)
    assert sum(output.usage.cached_tokens for output in outputs) == 31 * 320
    with engine.prefix(shared):
        again = engine.generate(prompts[0], GREEDY)
    assert again.usage.cached_tokens == 320
    for prompt, output in zip([*prompts[:3], prompts[0]], [*outputs[:3], again], strict=True):
        _assert_greedy(model, prompt, output.outputs[0].token_ids)


def test_a_seed_draws_the_same_again(engine: Engine) -> None:
    params = SamplingParams(n=4, seed=7, top_p=0.9, top_k=40, max_tokens=16, ignore_eos=True)
    first, second = (engine.generate(_prompt(0, 20), params).outputs for _ in range(2))
    assert [one.token_ids for one in first] == [one.token_ids for one in second]
    assert len({tuple(one.token_ids) for one in first}) == 4


@pytest.mark.parametrize(
    "field", [{"presence_penalty": 1.0}, {"logprobs": 2}, {"logit_bias": {3: 1.0}}], ids=str
)
def test_what_needs_a_cpu_is_refused_by_name(engine: Engine, field: dict[str, object]) -> None:
    (name,) = field
    with pytest.raises(UnsupportedError, match=f"{name} is not supported on a GPU"):
        engine.generate([5, 6], SamplingParams(max_tokens=4, **field))  # type: ignore[arg-type]


def test_a_dropped_stream_gives_its_blocks_back(engine: Engine, model: Path) -> None:
    params = SamplingParams(max_tokens=900, ignore_eos=True)
    with engine.stream(_prompt(0, 40), params) as stream:
        next(iter(stream))
    prompt = _prompt(1, 40)
    _assert_greedy(model, prompt, engine.generate(prompt, GREEDY).outputs[0].token_ids)
    assert engine.stats().kv_blocks_used == 0


def test_sleep_gives_the_memory_back(engine: Engine, model: Path) -> None:
    prompt = _prompt(0, 100)
    before = engine.generate(prompt, GREEDY).outputs[0].token_ids
    awake = mx.get_active_memory()
    engine.sleep()
    assert awake - mx.get_active_memory() >= engine.info.weight_bytes
    engine.wake()
    assert engine.generate(prompt, GREEDY).outputs[0].token_ids == before
