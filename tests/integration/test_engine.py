"""The engine on a real model."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vllm_swift_engine import Engine, SamplingParams
from vllm_swift_engine.errors import (
    EmptyPromptError,
    EngineClosedError,
    InvalidArgumentError,
    InvalidTokenError,
    MemoryBudgetError,
    ModelCorruptError,
    ModelError,
    ModelNotFoundError,
    PromptTooLongError,
    VLLMSwiftError,
)

pytestmark = pytest.mark.model

GREEDY = SamplingParams(temperature=0, max_tokens=12)
LONG = SamplingParams(temperature=0, max_tokens=4000)
PROMPT = "Once upon a time, in a small village by the sea, there lived"


@pytest.fixture
def engine(smollm2_engine: Engine) -> Engine:
    return smollm2_engine


def assert_idle(engine: Engine) -> None:
    """Cancelled requests end with the step that runs, so within a few steps none is left."""
    for _ in range(20):
        stats = engine.stats()
        if stats.running + stats.waiting == 0:
            return
        engine.generate("a", SamplingParams(max_tokens=1))
    pytest.fail(f"requests are still there: {stats}")


def test_info_is_the_models(engine: Engine, smollm2: Path) -> None:
    info = engine.info
    assert info.model == str(smollm2)
    assert (info.architecture, info.vocab_size, info.hidden_size) == ("llama", 49152, 576)
    assert info.max_model_len == 8192
    assert info.device in ("cpu", "gpu")
    assert info.weight_bytes > 50_000_000


def test_it_answers_a_question_through_its_own_chat_template(engine: Engine) -> None:
    prompt = engine.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
    )
    result = engine.generate(prompt, SamplingParams(temperature=0, max_tokens=32))
    assert "Paris" in result.text
    assert result.outputs[0].finish_reason == "stop"


def test_results_have_usage_and_timings(engine: Engine) -> None:
    result = engine.generate(PROMPT, GREEDY)
    count = len(engine.tokenize(PROMPT))
    assert (result.usage.prompt_tokens, result.usage.completion_tokens) == (count, 12)
    assert len(result.outputs[0].token_ids) == 12
    assert result.outputs[0].finish_reason == "length"
    timings = result.timings
    assert timings.queue_s >= 0
    assert timings.prefill_s > 0
    assert timings.decode_s > 0
    assert timings.time_to_first_token_s == timings.queue_s + timings.prefill_s
    assert timings.tokens_per_second == pytest.approx(11 / timings.decode_s)


def test_greedy_is_the_same_in_every_way_to_ask(engine: Engine) -> None:
    expected = engine.generate(PROMPT, GREEDY)
    tokens = expected.outputs[0].token_ids
    chunks = list(engine.stream(engine.tokenize(PROMPT), GREEDY))
    assert [token for chunk in chunks for token in chunk.token_ids] == tokens
    assert "".join(chunk.text for chunk in chunks) == expected.text == engine.detokenize(tokens)
    assert chunks[-1].usage == expected.usage

    async def both() -> tuple[str, str]:
        result = await engine.agenerate(PROMPT, GREEDY)
        return result.text, "".join([chunk.text async for chunk in engine.astream(PROMPT, GREEDY)])

    assert asyncio.run(both()) == (expected.text, expected.text)
    batch = engine.generate([PROMPT, "Once"], GREEDY)
    assert batch[0].text == expected.text
    assert batch[1].prompt_token_ids == engine.tokenize("Once")


def test_a_seed_repeats_and_another_does_not(engine: Engine) -> None:
    def sample(seed: int | None) -> list[int]:
        params = SamplingParams(temperature=1.5, seed=seed, max_tokens=12)
        return engine.generate(PROMPT, params).outputs[0].token_ids

    assert sample(7) == sample(7) != sample(8)
    assert sample(None) != sample(None)


def test_top_k_of_one_is_greedy(engine: Engine) -> None:
    params = SamplingParams(temperature=5.0, top_k=1, max_tokens=12)
    assert engine.generate(PROMPT, params).text == engine.generate(PROMPT, GREEDY).text


def test_a_stop_string_is_not_shown_and_ends_the_request(engine: Engine) -> None:
    whole = engine.generate(PROMPT, SamplingParams(temperature=0, max_tokens=40)).text
    # Across a border of tokens: the end of one word and the beginning of the next.
    middle = whole.index(" ", len(whole) // 2)
    stop = whole[middle - 2 : middle + 3]
    first = whole.index(stop)
    params = SamplingParams(temperature=0, max_tokens=40, stop=["never there", stop])
    output = engine.generate(PROMPT, params).outputs[0]
    assert (output.text, output.finish_reason, output.stop_reason) == (whole[:first], "stop", stop)
    assert engine.detokenize(output.token_ids).startswith(whole[:first] + stop)
    chunks = list(engine.stream(PROMPT, params))
    assert "".join(chunk.text for chunk in chunks) == whole[:first]
    assert [token for chunk in chunks for token in chunk.token_ids] == output.token_ids


def test_a_stop_token_ends_the_request_and_is_not_reported(engine: Engine) -> None:
    tokens = engine.generate(PROMPT, GREEDY).outputs[0].token_ids
    stop = tokens[5]
    params = SamplingParams(temperature=0, max_tokens=12, stop_token_ids=[stop])
    output = engine.generate(PROMPT, params).outputs[0]
    assert output.token_ids == tokens[: tokens.index(stop)]
    assert (output.finish_reason, output.stop_reason) == ("stop", stop)


def test_the_models_own_end_token_is_no_stop_reason(engine: Engine) -> None:
    question = engine.apply_chat_template([{"role": "user", "content": "Say hello."}])
    output = engine.generate(question, SamplingParams(temperature=0, max_tokens=200)).outputs[0]
    assert (output.finish_reason, output.stop_reason) == ("stop", None)


def test_a_full_context_ends_the_request(smollm2: Path) -> None:
    with Engine(smollm2, max_model_len=32) as engine:
        prompt = engine.tokenize(PROMPT)
        for limit in (None, 1000):
            params = SamplingParams(temperature=0, max_tokens=limit)
            output = engine.generate(prompt, params).outputs[0]
            assert output.finish_reason in ("length", "stop")
            assert len(prompt) + len(output.token_ids) <= 32
        with pytest.raises(PromptTooLongError, match="32"):
            engine.generate([1] * 32, GREEDY)
        assert engine.generate(prompt, SamplingParams(max_tokens=1)).usage.completion_tokens == 1


def test_closing_a_stream_stops_the_work(engine: Engine) -> None:
    with engine.stream(PROMPT, LONG) as stream:
        next(stream)
    assert list(stream) == []
    assert engine.generate(PROMPT, GREEDY).usage.completion_tokens == 12
    assert_idle(engine)


def test_a_stream_that_is_dropped_in_the_prompt_does_not_hold_up_the_next(engine: Engine) -> None:
    streams = [engine.stream([1] * 4000, LONG) for _ in range(4)]
    del streams
    gc.collect()
    assert engine.generate(PROMPT, GREEDY).usage.completion_tokens == 12
    assert_idle(engine)


def test_a_cancelled_task_stops_the_work(engine: Engine) -> None:
    async def main() -> None:
        task = asyncio.create_task(engine.agenerate(PROMPT, LONG))
        await anext(engine.astream("x", GREEDY))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(engine.agenerate(PROMPT, LONG), timeout=0.05)
        assert (await engine.agenerate(PROMPT, GREEDY)).usage.completion_tokens == 12

    asyncio.run(main())
    assert_idle(engine)


def test_many_threads_use_one_engine(engine: Engine) -> None:
    prompts = [f"{number} is followed by the number" for number in range(12)]
    alone = [engine.generate(prompt, GREEDY).text for prompt in prompts]
    with ThreadPoolExecutor(6) as pool:
        together = [*pool.map(lambda prompt: engine.generate(prompt, GREEDY).text, prompts)]
    assert together == alone


def test_equal_engines_share_and_one_outlives_the_other(engine: Engine, smollm2: Path) -> None:
    models = engine.stats().models
    with Engine(smollm2) as second:
        assert engine.stats().models == models
        expected = second.generate(PROMPT, GREEDY).text
        with Engine(smollm2, share=False) as third:
            assert engine.stats().models == models + 1
            assert third.generate(PROMPT, GREEDY).text == expected
    assert engine.stats().models == models
    assert engine.generate(PROMPT, GREEDY).text == expected


def test_closing_ends_what_runs(smollm2: Path, engine: Engine) -> None:
    models = engine.stats().models
    closing = Engine(smollm2, share=False)
    stream = closing.stream(PROMPT, LONG)
    next(stream)
    threads = [threading.Thread(target=closing.close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with pytest.raises(EngineClosedError):
        list(stream)
    with pytest.raises(EngineClosedError):
        closing.generate(PROMPT, GREEDY)
    closing.close()
    assert engine.stats().models == models


def test_a_dropped_engine_is_closed(smollm2: Path, engine: Engine) -> None:
    models = engine.stats().models
    dropped = Engine(smollm2, share=False)
    assert engine.stats().models == models + 1
    del dropped
    gc.collect()
    assert engine.stats().models == models


def test_logits_predict_the_greedy_token(engine: Engine) -> None:
    ids = engine.tokenize(PROMPT)
    logits = engine.logits(ids)
    assert logits.shape == (len(ids), engine.info.vocab_size)
    assert logits.format == "f"
    last = [logits[len(ids) - 1, token] for token in range(engine.info.vocab_size)]
    assert all(map(math.isfinite, last))
    token = engine.generate(ids, SamplingParams(temperature=0, max_tokens=1)).outputs[0].token_ids
    assert [last.index(max(last))] == token


@pytest.mark.parametrize(
    ("prompt", "error"),
    [
        ("", EmptyPromptError),
        ([], EmptyPromptError),
        ([49152], InvalidTokenError),
        ([-1], InvalidTokenError),
        ("word " * 9000, PromptTooLongError),
        ("\udcff", InvalidArgumentError),
    ],
)
def test_a_bad_prompt_leaves_the_engine_usable(
    engine: Engine, prompt: str | list[int], error: type[VLLMSwiftError]
) -> None:
    for call in (engine.generate, engine.stream, engine.logits):
        if call == engine.logits and isinstance(prompt, str):
            continue
        with pytest.raises(error):
            call(prompt, *(() if call == engine.logits else (GREEDY,)))
    assert engine.generate(PROMPT, GREEDY).usage.completion_tokens == 12


def test_a_model_beyond_the_budget_is_refused(smollm2: Path) -> None:
    with pytest.raises(MemoryBudgetError, match=r"\d"):
        Engine(smollm2, memory_budget=1_000_000)


@pytest.mark.parametrize("value", ["", "avx9000"])
def test_unknown_kernels_are_refused(
    smollm2: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("VLLM_SWIFT_KERNELS", value)
    with pytest.raises(InvalidArgumentError, match="VLLM_SWIFT_KERNELS"):
        Engine(smollm2)


@pytest.mark.parametrize("limit", [0, -1, 2**40, 1.5, True])
def test_bad_limits_are_refused(smollm2: Path, limit: int) -> None:
    with pytest.raises(InvalidArgumentError, match="max_model_len"):
        Engine(smollm2, max_model_len=limit)


def test_broken_models_are_refused(smollm2: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(smollm2.read_bytes()[:1_000_000])
    with pytest.raises(ModelCorruptError):
        Engine(cut)
    noise = tmp_path / "noise.gguf"
    noise.write_bytes(b"GGUF" + bytes(range(256)) * 40)
    with pytest.raises(ModelError):
        Engine(noise)
    with pytest.raises(ModelNotFoundError):
        Engine(tmp_path / "missing.gguf")
    text = tmp_path / "notes.txt"
    text.write_text("not a model")
    with pytest.raises(ModelError):
        Engine(text)
