"""Prefixes that are kept, in memory and in files."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gguf
import pytest

from tests import tiny_llama
from tests.integration.budgets import budget
from vllm_swift_engine import Engine, SamplingParams
from vllm_swift_engine.errors import (
    EngineClosedError,
    PrefixFileError,
    RequestTooLargeError,
    UnsupportedError,
)

PROMPT = [1 + index * index % 200 for index in range(70)]
TAIL = [5, 9, 14]
GREEDY = SamplingParams(max_tokens=6, temperature=0)


def small(model: Path, blocks: int) -> Engine:
    """An engine with so many blocks of KV cache."""
    return Engine(model, device="cpu", memory_budget=budget(model, blocks), share=False)


@pytest.fixture
def engine(model: Path) -> Iterator[Engine]:
    with Engine(model, device="cpu", share=False) as engine:
        yield engine


@pytest.fixture(scope="module")
def answer(model: Path) -> list[int]:
    with Engine(model, device="cpu", share=False) as engine:
        return engine.generate([*PROMPT, *TAIL], GREEDY).outputs[0].token_ids


@pytest.fixture(scope="module")
def saved(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prefix") / "prompt.prefix"
    with Engine(model, device="cpu", share=False) as engine, engine.prefix(PROMPT) as prefix:
        if engine.info.kernels == "reference":
            pytest.skip("stock MLX ops have no files of prefixes")
        prefix.save(path)
    return path


def test_many_requests_continue_a_prefix(engine: Engine, answer: list[int]) -> None:
    with engine.prefix(PROMPT) as prefix:
        assert prefix.token_ids == PROMPT
        assert prefix.cached_tokens == 64
        for output in engine.generate([prefix + TAIL] * 4, GREEDY):
            assert output.usage.cached_tokens == 64
            assert output.outputs[0].token_ids == answer


def test_a_text_and_messages_make_prefixes(smollm2_engine: Engine) -> None:
    with smollm2_engine.prefix("The sky is blue. " * 10) as prefix:
        prompt = prefix + "The grass is"
        assert smollm2_engine.detokenize(prompt).endswith("blue. The grass is")
        output = smollm2_engine.generate(prompt, GREEDY)
        assert output.usage.cached_tokens >= prefix.cached_tokens > 0
    messages = [{"role": "system", "content": "You answer in one word. " * 10}]
    with smollm2_engine.prefix(messages) as prefix:
        assert prefix.cached_tokens > 0
        ids = smollm2_engine.apply_chat_template([*messages, {"role": "user", "content": "Hi"}])
        assert smollm2_engine.generate(ids, GREEDY).usage.cached_tokens >= prefix.cached_tokens


def test_a_prefix_outlives_what_comes_after_it(model: Path) -> None:
    others = [[index % 7 + 1] * 40 for index in range(12)]
    with small(model, 6) as engine:
        prefix = engine.prefix(PROMPT)
        engine.generate(others, GREEDY)
        assert engine.generate(prefix + TAIL, GREEDY).usage.cached_tokens == 64
        prefix.close()
        prefix.close()
        engine.generate(others, GREEDY)
        assert engine.generate(PROMPT, GREEDY).usage.cached_tokens == 0


def test_what_does_not_fit_beside_a_prefix_is_refused(model: Path) -> None:
    long = SamplingParams(max_tokens=20, temperature=0, ignore_eos=True)
    with small(model, 4) as engine:
        with engine.prefix(PROMPT) as prefix:
            with pytest.raises(RequestTooLargeError, match="pinned prefixes"):
                engine.generate([7] * 60, long)
            assert len(engine.generate(prefix + TAIL, long).outputs[0].token_ids) == 20
        assert len(engine.generate([7] * 60, long).outputs[0].token_ids) == 20


def test_a_scored_prompt_takes_no_blocks_of_a_prefix(model: Path) -> None:
    """Its rows are all computed: where there is no room for them, it would wait for ever."""
    scored = SamplingParams(max_tokens=20, temperature=0, ignore_eos=True, prompt_logprobs=1)
    with small(model, 4) as engine, engine.prefix(PROMPT) as prefix:
        with pytest.raises(RequestTooLargeError, match="pinned prefixes"):
            engine.generate(prefix + TAIL, scored, timeout=60)
        prefix.close()
        (output,) = engine.generate([prefix + TAIL], scored, timeout=60)
        assert len(output.prompt_logprobs or ()) == len(PROMPT) + len(TAIL)


def test_a_prefix_that_leaves_no_room_is_refused(model: Path) -> None:
    with small(model, 4) as engine, engine.prefix(PROMPT):
        with pytest.raises(RequestTooLargeError, match="pinned prefixes"):
            engine.prefix([7] * 64)
        assert engine.generate(TAIL, GREEDY).outputs[0].token_ids


CHILD = """
import sys
from vllm_swift_engine import Engine, SamplingParams
engine = Engine(sys.argv[1], device="cpu")
prefix = engine.load_prefix(sys.argv[2])
output = engine.generate(prefix + eval(sys.argv[3]), SamplingParams(max_tokens=6, temperature=0))
print([output.outputs[0].token_ids, output.usage.cached_tokens, engine.stats().prompt_tokens])
"""


def test_another_process_goes_on_from_a_file(model: Path, saved: Path, answer: list[int]) -> None:
    command = [sys.executable, "-c", CHILD, str(model), str(saved), repr(TAIL)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    assert result.stdout.strip() == repr([answer, 64, len(PROMPT) + len(TAIL) - 64])


def test_a_loaded_prefix_meets_one_that_is_there(
    engine: Engine, saved: Path, answer: list[int]
) -> None:
    with engine.prefix(PROMPT[:40]), engine.load_prefix(saved) as prefix:
        assert engine.generate(prefix + TAIL, GREEDY).outputs[0].token_ids == answer
        assert engine.stats().kv_blocks_used == 2


def test_a_file_of_another_model_is_refused(saved: Path, tmp_path: Path) -> None:
    path, weights = tmp_path / "other.gguf", tiny_llama.random_weights(seed=1)
    tiny_llama.write_gguf(path, weights, gguf.GGMLQuantizationType.Q4_0)
    with (
        Engine(path, device="cpu") as other,
        pytest.raises(PrefixFileError, match="another model"),
    ):
        other.load_prefix(saved)


def test_a_revision_that_differs_in_one_byte_is_another_model(
    smollm2: Path, tmp_path: Path
) -> None:
    place = 41_234_567
    content = bytearray(smollm2.read_bytes())
    content[place] ^= 1
    changed = tmp_path / smollm2.name
    changed.write_bytes(content)
    file = tmp_path / "prefix"
    with (
        Engine(smollm2, device="cpu") as engine,
        engine.prefix("Once upon a time. " * 20) as prefix,
    ):
        prefix.save(file)
        engine.load_prefix(file).close()
    with Engine(changed, device="cpu") as other, pytest.raises(PrefixFileError, match="revision"):
        other.load_prefix(file)


def test_a_file_of_other_kernels_is_refused(
    model: Path, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_SWIFT_KERNELS", "reference")
    with Engine(model, device="cpu", share=False) as other:
        with pytest.raises(PrefixFileError, match="another set of kernels"):
            other.load_prefix(saved)
        with other.prefix(PROMPT) as prefix, pytest.raises(UnsupportedError, match="reference"):
            prefix.save(saved.with_name("other"))


def test_damage_is_detected(engine: Engine, saved: Path, tmp_path: Path) -> None:
    rng = random.Random(7)
    content = saved.read_bytes()
    damaged = [content[: rng.randrange(len(content))] for _ in range(20)]
    for _ in range(60):
        bad = bytearray(content)
        bad[rng.randrange(rng.choice((400, len(content))))] ^= 1 << rng.randrange(8)
        damaged.append(bytes(bad))
    for index, bad_content in enumerate(damaged):
        path = tmp_path / str(index)
        path.write_bytes(bad_content)
        with pytest.raises(PrefixFileError):
            engine.load_prefix(path)
    assert engine.generate(PROMPT, GREEDY).usage.cached_tokens == 0


def test_a_closed_prefix_says_so(engine: Engine, tmp_path: Path) -> None:
    prefix = engine.prefix(PROMPT)
    engine.close()
    with pytest.raises(EngineClosedError):
        prefix.save(tmp_path / "late")
    assert not [*tmp_path.iterdir()]
    prefix.close()
