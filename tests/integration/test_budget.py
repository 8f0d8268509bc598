"""The ways to say how much memory a model may take."""

from __future__ import annotations

import subprocess
import sys
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


PROCESS = """
import sys
import psutil
from vllm_swift_engine import Engine, SamplingParams
def resident():
    memory = psutil.Process().memory_info()
    return memory.rss - memory.shared
Engine(sys.argv[1], device="cpu").close()
before = resident()
engine = Engine(sys.argv[1], device="cpu", memory_budget=int(sys.argv[2]))
prompts = [[1000 + index, *range(100, 150)] for index in range(256)]
engine.generate(prompts, SamplingParams(max_tokens=8, ignore_eos=True))
stats = engine.stats()
print(resident() - before, stats.kv_blocks_cached / stats.kv_blocks)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="psutil knows what is shared on Linux")
def test_a_full_cache_and_a_full_step_keep_to_it(smollm2: Path) -> None:
    memory_budget = 300_000_000
    command = [sys.executable, "-c", PROCESS, str(smollm2), str(memory_budget)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    grown, full = map(float, output.split())
    assert full > 0.9
    assert 0.7 * memory_budget < grown <= memory_budget
