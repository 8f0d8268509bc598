"""The ways to say how much memory a model may take."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import psutil
import pytest

from tests.integration.budgets import Device, budget
from tests.parity.checkpoints import WIDE, write_folder
from tests.parity.engines import needs_gpu
from vllm_swift_engine import Engine, SamplingParams
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


@pytest.mark.parametrize("sequences", [1, 20])
@pytest.mark.parametrize(
    ("device", "used"), [("cpu", 0.4), pytest.param("gpu", 0.3, marks=needs_gpu)]
)
def test_stock_ops_keep_to_it_by_mlxs_own_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: Device, used: float, sequences: int
) -> None:
    monkeypatch.setenv("VLLM_SWIFT_KERNELS", "reference")
    model = write_folder(tmp_path, WIDE)
    memory_budget = budget(model, 40, device)
    mx.clear_cache()
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    with Engine(model, device=device, memory_budget=memory_budget, share=False) as engine:
        assert engine.info.kv_blocks == 40
        prompts = [[*(1 + index % 250 for index in range(1000)), last] for last in range(sequences)]
        engine.generate(prompts, SamplingParams(max_tokens=4, ignore_eos=True))
    assert used * memory_budget < mx.get_peak_memory() - before <= memory_budget


def test_a_long_context_leaves_room_for_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where stock ops would need more than the machine has for a request of full length."""
    monkeypatch.setenv("VLLM_SWIFT_KERNELS", "reference")
    length = 4_000_000
    model = write_folder(tmp_path, replace(WIDE, more={"max_position_embeddings": length}))
    with Engine(model, device="cpu", share=False) as engine:
        assert engine.info.max_model_len == length
        assert engine.info.kv_blocks > 100
        assert engine.generate([5] * 100).outputs[0].token_ids
