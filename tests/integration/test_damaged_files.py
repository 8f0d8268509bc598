"""Model files that are cut short or have wrong bytes, opened in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import gguf
import pytest

from tests import tiny_llama
from tests.integration.damage import CUTS, FLIPS, VALUES


def survive(cache: Path, *arguments: object) -> dict[str, int]:
    """What became of the damaged copies, by error class; the process must have ended well."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.damage", *map(str, arguments)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "VLLM_SWIFT_CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    seen: dict[str, int] = json.loads(done.stdout)
    return seen


def survive_wrong_bytes(model: Path, file: Path, header_bytes: int, cache: Path) -> None:
    seen = survive(cache, model, file, header_bytes)
    assert sum(seen.values()) == CUTS + FLIPS
    assert seen["ModelCorruptError"] >= CUTS


@pytest.mark.parametrize("kind", ["F16", "Q4_1"])
def test_no_damage_to_a_gguf_ends_the_process(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model.gguf"
    tiny_llama.write_gguf(path, tiny_llama.random_weights(), gguf.GGMLQuantizationType[kind])
    header = gguf.GGUFReader(path).data_offset
    survive_wrong_bytes(path, path, header, tmp_path / "cache")


@pytest.mark.parametrize("bits", [4, 8])
def test_no_damage_to_safetensors_ends_the_process(tmp_path: Path, bits: int) -> None:
    folder = tmp_path / "model"
    arrays = tiny_llama.quantized(tiny_llama.random_weights(), bits, 32)
    tiny_llama.write_folder(folder, arrays, {"bits": bits, "group_size": 32})
    weights = folder / "model.safetensors"
    with weights.open("rb") as file:
        header = 8 + int.from_bytes(file.read(8), "little")
    survive_wrong_bytes(folder, weights, header, tmp_path / "cache")


def test_no_damage_to_a_config_ends_the_process(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    arrays = tiny_llama.quantized(tiny_llama.random_weights(), 4, 32)
    tiny_llama.write_folder(folder, arrays, {"bits": 4, "group_size": 32})
    config = folder / "config.json"
    survive_wrong_bytes(folder, config, config.stat().st_size, tmp_path / "cache")


def test_no_value_in_a_config_ends_the_process(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    arrays = tiny_llama.quantized(tiny_llama.random_weights(), 4, 32)
    tiny_llama.write_folder(folder, arrays, {"bits": 4, "group_size": 32})
    numbers = [value for value in tiny_llama.CONFIG.values() if isinstance(value, (int, float))]
    seen = survive(tmp_path / "cache", folder)
    assert sum(seen.values()) == len(numbers) * len(VALUES)
    assert seen["ModelCorruptError"] > seen["opened"]
