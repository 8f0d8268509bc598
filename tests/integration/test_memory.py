"""What a model costs in resident memory, measured by the kernel in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/status is Linux's"),
]

CONTEXT = 1024

# Prints growth over the process before the model was opened, in bytes: at the highest point of the
# load, after it, and with the KV cache of a long request filled.
PROCESS = """
import json, sys, time
from vllm_swift_engine import Engine, SamplingParams

def resident():
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return {key: int(lines[key].split()[0]) * 1024 for key in ("VmRSS", "VmHWM")}

def rested():
    # The engine gives back what only steps use after a second without work.
    samples = []
    while len(samples) < 30:
        time.sleep(0.1)
        samples.append(resident())
    return min(samples, key=lambda sample: sample["VmRSS"])

model, context = sys.argv[1], int(sys.argv[2])
import tokenizers, jinja2
before = resident()["VmRSS"]
engine = Engine(model, device="cpu", max_model_len=context)
opened = rested()
engine.generate([500] * (context - 16), SamplingParams(temperature=0.0, max_tokens=16))
used = rested()
print(json.dumps({
    "peak": used["VmHWM"] - before,
    "load peak": opened["VmHWM"] - before,
    "opened": opened["VmRSS"] - before,
    "steady": used["VmRSS"] - before,
}))
"""


@pytest.fixture(scope="module")
def growth(smollm2: Path) -> dict[str, Any]:
    command = [sys.executable, "-c", PROCESS, str(smollm2), str(CONTEXT)]
    _run(command)  # converts the tokenizer, which later processes read from the cache
    result: dict[str, Any] = json.loads(_run(command))
    return result


def _run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def kv_cache_bytes() -> int:
    layers, kv_heads, vector_bytes = 30, 3, 64 * 2 + 4  # 16 bits an element, a scale a vector
    return 2 * layers * kv_heads * vector_bytes * CONTEXT


def test_peak_is_below_1_6_times_the_file(growth: dict[str, Any], smollm2: Path) -> None:
    assert growth["load peak"] <= 1.6 * smollm2.stat().st_size, growth


def test_an_open_model_is_little_more_than_its_weights(
    growth: dict[str, Any], smollm2: Path
) -> None:
    assert growth["opened"] <= 1.3 * smollm2.stat().st_size, growth


def test_a_long_prompt_adds_little_more_than_its_cache(
    growth: dict[str, Any], smollm2: Path, kv_cache_bytes: int
) -> None:
    assert growth["steady"] <= 1.3 * smollm2.stat().st_size + kv_cache_bytes, growth
