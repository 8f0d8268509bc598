"""Engines that give their memory back for a while."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vllm_swift_engine import Engine, SamplingParams
from vllm_swift_engine.errors import EngineAsleepError, EngineClosedError, ModelCorruptError

GREEDY = SamplingParams(max_tokens=8, temperature=0)
PROMPT = "The sky is"

PROCESS = """
import sys
from vllm_swift_engine import Engine, SamplingParams
def resident():
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(lines["VmRSS"].split()[0]) * 1024
engine = Engine(sys.argv[1], device="cpu")
engine.generate(list(range(1, 1500)), SamplingParams(max_tokens=1))
cached, info = engine.stats().kv_blocks_cached, engine.info
awake = resident()
engine.sleep()
print(awake - resident(), cached * info.kv_bytes // info.kv_blocks)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/status is Linux's")
def test_sleep_frees_the_weights_and_the_cache(smollm2: Path) -> None:
    command = [sys.executable, "-c", PROCESS, str(smollm2)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    freed, written = map(int, output.split())
    assert written > 30e6
    assert freed >= 0.9 * (smollm2.stat().st_size + written)


def test_an_engine_that_woke_goes_on_as_before(smollm2: Path) -> None:
    with Engine(smollm2, device="cpu", share=False) as engine:
        before = engine.generate(PROMPT, GREEDY).text
        engine.sleep()
        engine.sleep()
        for call in (lambda: engine.generate(PROMPT, GREEDY), lambda: engine.logits([1])):
            with pytest.raises(EngineAsleepError, match="wake"):
                call()
        assert engine.tokenize(PROMPT)
        engine.wake()
        engine.wake()
        assert engine.generate(PROMPT, GREEDY).text == before
        engine.sleep()


def test_engines_that_share_a_model_sleep_together(smollm2: Path) -> None:
    with Engine(smollm2, device="cpu") as one, Engine(smollm2, device="cpu") as two:
        one.sleep()
        with pytest.raises(EngineAsleepError):
            two.generate(PROMPT, GREEDY)
        two.wake()
        assert one.generate(PROMPT, GREEDY).text == two.generate(PROMPT, GREEDY).text


def test_what_runs_ends_when_its_engine_falls_asleep(smollm2: Path) -> None:
    with Engine(smollm2, device="cpu", share=False) as engine:
        stream = engine.stream(PROMPT, SamplingParams(max_tokens=4000, ignore_eos=True))
        next(stream)
        engine.sleep()
        with pytest.raises(EngineClosedError):
            list(stream)
        engine.wake()
        assert engine.generate(PROMPT, GREEDY).text


def test_a_file_that_changed_is_not_loaded(smollm2: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    shutil.copy(smollm2, model)
    with Engine(model, device="cpu") as engine:
        engine.sleep()
        model.write_bytes(model.read_bytes()[:-32])
        with pytest.raises(ModelCorruptError, match="changed"):
            engine.wake()
