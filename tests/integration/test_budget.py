"""The ways to say how much memory a model may take."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.integration.budgets import budget
from vllm_swift_engine import Engine
from vllm_swift_engine.errors import InvalidArgumentError, MemoryBudgetError


def blocks(model: Path, memory_budget: int | float | str) -> int:
    with Engine(model, device="cpu", memory_budget=memory_budget, share=False) as engine:
        return engine.info.kv_blocks


def test_a_size_is_its_bytes(model: Path) -> None:
    three = budget(model, 3)
    assert blocks(model, three) == blocks(model, str(three)) == 3
    assert blocks(model, f"{three / 2**20:.9f} MiB") in (2, 3)
    assert blocks(model, f"{-(-three // 1000)}kB") == blocks(model, -(-three // 1000) * 1000)


def test_the_cache_may_be_given_in_tokens(model: Path) -> None:
    with Engine(model, device="cpu", kv_cache_tokens=100, share=False) as engine:
        assert engine.info.kv_blocks == 4
        assert engine.generate([5] * 40).outputs[0].token_ids
    with pytest.raises(MemoryBudgetError, match="KV cache of 320 tokens"):
        Engine(model, device="cpu", kv_cache_tokens=320, memory_budget=budget(model, 3))


def test_a_share_is_of_what_the_machine_has(model: Path) -> None:
    # Control groups may allow less than the machine has, and never more.
    share = budget(model, 3) / psutil.virtual_memory().total
    assert blocks(model, 1.0) > 3
    with pytest.raises(MemoryBudgetError):
        blocks(model, share / 1000)


@pytest.mark.parametrize(
    "bad", ["", "8 GiBs", "-1", "GiB", "1e9", 0, -5, 0.0, 1.5, float("nan"), True]
)
def test_anything_else_is_refused(model: Path, bad: int | float | str) -> None:
    with pytest.raises(InvalidArgumentError, match="memory_budget"):
        blocks(model, bad)
