"""Logits that are no numbers end the request that has them, and no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from tests import tiny_llama
from vllm_swift_engine import Engine, SamplingParams
from vllm_swift_engine.errors import BackendError

BAD = 7  # a token whose embedding makes NaN of everything


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    weights = tiny_llama.random_weights()
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].copy()
    weights["lm_head.weight"][BAD] = 0  # never the most likely one
    weights["model.embed_tokens.weight"][BAD] = np.inf
    tiny_llama.write_folder(folder, {name: mx.array(value) for name, value in weights.items()})
    config = folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "tie_word_embeddings": False}))
    return folder


def greedy(**fields: Any) -> SamplingParams:
    return SamplingParams(temperature=0, max_tokens=40, ignore_eos=True, **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"temperature": 1.0, "seed": 1, "top_p": 0.9},
        {"logprobs": 2},
        {"prompt_logprobs": 1},
        {"repetition_penalty": 1.2, "n": 2},
    ],
)
def test_a_request_whose_logits_are_nan_fails_alone(engine: Engine, fields: dict[str, Any]) -> None:
    alone = engine.generate([3, 4, 5], greedy()).outputs[0].token_ids
    other = engine.stream([3, 4, 5], greedy())
    begun = next(other)
    params = SamplingParams(**{"temperature": 0.0, "max_tokens": 8, **fields})
    with pytest.raises(BackendError, match="this request hold NaN"):
        engine.generate([3, BAD, 5], params)
    assert begun.token_ids + [token for chunk in other for token in chunk.token_ids] == alone


def test_what_comes_after_it_is_as_before(engine: Engine) -> None:
    alone = engine.generate([9, 10], greedy()).outputs[0].token_ids
    for _ in range(3):
        with pytest.raises(BackendError):
            engine.generate([BAD], greedy())
        assert engine.generate([9, 10], greedy()).outputs[0].token_ids == alone
    stats = engine.stats()
    assert (stats.running, stats.waiting, stats.kv_blocks_used) == (0, 0, 0)
