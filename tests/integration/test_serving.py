"""Many requests on one engine: what they share, who goes first, and how they end."""

from __future__ import annotations

import dataclasses
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.integration.budgets import budget
from vllm_swift_engine import Engine, SamplingParams
from vllm_swift_engine.errors import (
    EngineClosedError,
    InvalidArgumentError,
    RequestTimeoutError,
    RequestTooLargeError,
)
from vllm_swift_engine.outputs import EngineStats

PROMPT = [1 + index * index % 200 for index in range(100)]
SEEDED = SamplingParams(max_tokens=12, seed=5)


def used(before: EngineStats, after: EngineStats) -> dict[str, int]:
    names = ("prompt_tokens", "output_tokens", "prefix_queries", "prefix_hits", "preemptions")
    return {name: getattr(after, name) - getattr(before, name) for name in names}


def test_a_prompt_that_came_before_is_not_computed_again(engine: Engine) -> None:
    before = engine.stats()
    first, second = engine.generate(PROMPT, SEEDED), engine.generate(PROMPT, SEEDED)
    assert first.usage.cached_tokens == 0
    assert second.usage.cached_tokens == 96
    assert second.outputs[0].token_ids == first.outputs[0].token_ids
    change = used(before, engine.stats())
    assert change["prompt_tokens"] == 104
    assert (change["prefix_queries"], change["prefix_hits"]) == (200, 96)


def test_what_was_generated_is_not_computed_again(engine: Engine) -> None:
    params = dataclasses.replace(SEEDED, max_tokens=20)
    answer = engine.generate(PROMPT[:60], params).outputs[0].token_ids
    assert len(answer) == 20
    again = engine.generate([*PROMPT[:60], *answer, 3, 4], params)
    assert again.usage.cached_tokens == 64


def test_requests_over_one_context_cost_its_prefill_once(engine: Engine) -> None:
    prompts = [[*PROMPT[:96], 1 + index, 7] for index in range(16)]
    before = engine.stats()
    outputs = engine.generate(prompts, SamplingParams(max_tokens=4, temperature=0))
    assert used(before, engine.stats())["prompt_tokens"] == 96 + 16 * 2
    assert sorted(output.usage.cached_tokens for output in outputs) == [0] + 15 * [96]


@pytest.mark.parametrize("length", [1, 31, 32, 33, 64, 90])
def test_each_output_of_a_request_is_that_of_its_own_seed(engine: Engine, length: int) -> None:
    prompt = PROMPT[:length]
    output = engine.generate(prompt, dataclasses.replace(SEEDED, n=4))
    assert [one.index for one in output.outputs] == [0, 1, 2, 3]
    for one in output.outputs:
        alone = dataclasses.replace(SEEDED, seed=5 + one.index)
        assert one.token_ids == engine.generate(prompt, alone).outputs[0].token_ids
    assert len({tuple(one.token_ids) for one in output.outputs}) > 1
    assert output.usage.completion_tokens == sum(len(one.token_ids) for one in output.outputs)


def test_a_stream_of_many_outputs_says_whose_each_chunk_is(engine: Engine) -> None:
    params = dataclasses.replace(SEEDED, n=3, max_tokens=9)
    chunks = [*engine.stream(PROMPT, params)]
    whole = engine.generate(PROMPT, params)
    for index in range(3):
        own = [chunk for chunk in chunks if chunk.index == index]
        assert [token for chunk in own for token in chunk.token_ids] == whole.outputs[
            index
        ].token_ids
        assert [chunk.finish_reason for chunk in own[:-1]] == [None] * (len(own) - 1)
        assert own[-1].finish_reason == whole.outputs[index].finish_reason
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].usage == dataclasses.replace(whole.usage, cached_tokens=0)


def test_a_request_that_takes_too_long_fails_and_leaves_nothing(engine: Engine) -> None:
    params = SamplingParams(max_tokens=100, n=8)
    with pytest.raises(RequestTimeoutError, match="timeout"):
        engine.generate(PROMPT[:20], params, timeout=1e-6)
    with pytest.raises(TimeoutError):
        list(engine.stream(PROMPT[:20], params, timeout=1e-6))
    assert engine.generate(PROMPT, SEEDED, timeout=3600).outputs[0].token_ids
    stats = engine.stats()
    assert (stats.running, stats.waiting, stats.kv_blocks_used) == (0, 0, 0)


async def test_a_timeout_of_an_asyncio_stream(engine: Engine) -> None:
    with pytest.raises(RequestTimeoutError):
        async for _ in engine.astream(PROMPT[:20], SamplingParams(max_tokens=100), timeout=1e-6):
            pass
    output = await engine.agenerate(PROMPT, SEEDED, timeout=3600, priority=3)
    assert output.outputs[0].finish_reason == "length"


def test_requests_dropped_by_many_threads_at_once_harm_no_other(engine: Engine) -> None:
    # It has state of its own beside the schedule, which ends with it and not before.
    dropped = SamplingParams(max_tokens=60, repetition_penalty=1.3, ignore_eos=True)

    def drop(number: int) -> None:
        with engine.stream([1 + number % 20, 2, 3], dropped) as stream:
            next(stream)

    def read(seed: int) -> list[int]:
        params = SamplingParams(max_tokens=40, repetition_penalty=1.3, ignore_eos=True, seed=seed)
        return list(engine.generate([5, 6, 7], params).outputs[0].token_ids)

    undisturbed = read(1)
    with ThreadPoolExecutor(12) as threads:
        dropping = [threads.submit(drop, number) for number in range(4000)]
        assert all(read(1) == undisturbed for _ in range(10))
        for one in dropping:
            one.result()
    # Commands are taken in order, so the last cancellations are.
    assert read(1) == undisturbed
    assert engine.stats().running == engine.stats().waiting == 0


def test_the_better_priority_runs_first(model: Path) -> None:
    with Engine(model, device="cpu", max_num_seqs=1, share=False) as engine:
        # Its outputs run one after another, for seconds; it is closed long before its end.
        busy = engine.stream(PROMPT[:10], SamplingParams(max_tokens=100, n=1024), priority=-9)
        next(busy)
        short = SamplingParams(max_tokens=20, temperature=0)
        later = engine.stream(PROMPT[10:20], short, priority=1)
        sooner = engine.stream(PROMPT[20:30], short, priority=-1)
        busy.close()
        queued = []
        for stream in (later, sooner):
            timings = [*stream][-1].timings
            assert timings is not None
            queued.append(timings.queue_s)
        assert queued[1] < queued[0]


def test_more_requests_than_run_at_once_wait_and_finish(model: Path) -> None:
    with Engine(
        model, device="cpu", max_num_seqs=3, max_num_batched_tokens=8, share=False
    ) as engine:
        prompts = [PROMPT[index : index + 30] for index in range(40)]
        outputs = engine.generate(prompts, SamplingParams(max_tokens=3, temperature=0))
        assert all(output.outputs[0].finish_reason for output in outputs)
        assert engine.stats().kv_blocks_used == 0


def test_a_thousand_requests_at_once_finish_and_leave_nothing(model: Path) -> None:
    with Engine(model, device="cpu", memory_budget=budget(model, 40), share=False) as engine:
        prompts = [[1 + index % 7, *PROMPT[: 5 + index % 60]] for index in range(1000)]
        params = SamplingParams(max_tokens=8, temperature=0)
        before = engine.stats()
        together = engine.generate(prompts, params)
        for index in range(0, 1000, 97):
            alone = engine.generate(prompts[index], params)
            assert together[index].outputs[0].token_ids == alone.outputs[0].token_ids
        stats = engine.stats()
        assert (stats.running, stats.waiting, stats.kv_blocks_used) == (0, 0, 0)
        assert 0 < stats.kv_blocks_cached - before.kv_blocks_cached <= 40
        assert stats.prefix_hits > before.prefix_hits


def test_an_answer_without_max_tokens_ends_where_the_cache_does(model: Path) -> None:
    params = SamplingParams(max_tokens=None, temperature=0, ignore_eos=True)
    with Engine(model, device="cpu", kv_cache_tokens=64, share=False) as engine:
        assert engine.info.max_model_len > 64
        before = engine.stats()
        (output,) = engine.generate([PROMPT[:3]], params)
        assert len(output.outputs[0].token_ids) == 61
        assert output.outputs[0].finish_reason == "length"
        after = engine.stats()
        assert after.tokens_per_second(before) == 61 / (after.read_at - before.read_at)
        assert after.tokens_per_second(after) == 0
        with pytest.raises(RequestTooLargeError, match="fewer than 64 tokens"):
            engine.generate((PROMPT * 2)[:64], params)


def test_a_request_that_can_never_fit_is_refused_by_what_would_fit(model: Path) -> None:
    with (
        Engine(model, device="cpu", memory_budget=budget(model, 2), share=False) as engine,
        pytest.raises(RequestTooLargeError, match="at most 24"),
    ):
        engine.generate(PROMPT[:40], SamplingParams(max_tokens=80))


@pytest.mark.parametrize(
    ("options", "culprit"),
    [
        ({"max_num_seqs": 0}, "max_num_seqs"),
        ({"max_num_seqs": 9, "max_num_batched_tokens": 8}, "max_num_seqs"),
        ({"max_num_batched_tokens": 1 << 20}, "max_num_batched_tokens"),
        ({"max_num_batched_tokens": -1}, "max_num_batched_tokens"),
    ],
)
def test_limits_that_cannot_be_are_refused(
    model: Path, options: dict[str, int], culprit: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=culprit):
        Engine(model, device="cpu", share=False, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "1", True])
def test_a_timeout_is_seconds_above_zero(engine: Engine, timeout: object) -> None:
    with pytest.raises(InvalidArgumentError, match="timeout"):
        engine.generate(PROMPT, SEEDED, timeout=timeout)  # type: ignore[call-overload]


@pytest.mark.parametrize("priority", [2**31, "1", 1.5, True])
def test_a_priority_is_an_integer(engine: Engine, priority: object) -> None:
    with pytest.raises(InvalidArgumentError, match="priority"):
        engine.generate(PROMPT, SEEDED, priority=priority)  # type: ignore[call-overload]


def test_an_output_that_meets_a_stop_string_ends_at_once_and_the_others_go_on(
    engine: Engine,
) -> None:
    free = dataclasses.replace(SEEDED, max_tokens=400, n=3, ignore_eos=True)
    outputs = engine.generate(PROMPT[:8], free).outputs
    # Text that comes early in one of them and not at all in another.
    stop = next(
        text[start : start + 3]
        for text in (output.text[:40] for output in outputs)
        for start in range(len(text) - 3)
        if sum(text[start : start + 3] in output.text for output in outputs) == 1
    )
    before = engine.stats().output_tokens
    stopped = engine.generate(PROMPT[:8], dataclasses.replace(free, stop=stop))
    reasons = [output.finish_reason for output in stopped.outputs]
    assert sorted(reasons) == ["length", "length", "stop"]
    for output, alone in zip(stopped.outputs, outputs, strict=True):
        assert alone.text.startswith(output.text)
    drawn = engine.stats().output_tokens - before
    # A few more than were told of: the engine is a step or two ahead of its reader.
    assert drawn < 2 * 400 + 200
    assert engine.stats().kv_blocks_used == 0


def test_latencies_are_counted(engine: Engine) -> None:
    before, params = engine.stats(), dataclasses.replace(SEEDED, ignore_eos=True)
    output = engine.generate([PROMPT[:20], PROMPT[20:40]], params)[0]
    with engine.stream(PROMPT, params) as stream:
        next(stream)
    after = engine.stats()

    def more(name: str) -> int:
        return int(getattr(after, name).count - getattr(before, name).count)

    assert [more("queue_time"), more("time_to_first_token"), more("request_time")] == [3, 3, 3]
    assert 2 * 11 <= more("inter_token_time") <= 3 * 11
    for histogram in (after.queue_time, after.inter_token_time, after.request_time):
        assert list(histogram.bounds) == sorted(histogram.bounds)
        assert list(histogram.at_most) == sorted(histogram.at_most)
        assert histogram.at_most[-1] == histogram.count
        assert histogram.quantile(0) <= histogram.quantile(0.5) <= histogram.quantile(1)
        assert 0 < histogram.mean <= histogram.quantile(1)
    assert after.request_time.sum >= before.request_time.sum + output.timings.decode_s


LONG = SamplingParams(max_tokens=400, temperature=0, ignore_eos=True)


def test_streams_go_on_while_logits_are_computed(smollm2_engine: Engine) -> None:
    engine = smollm2_engine
    alone = engine.logits(range(2, 122)).tobytes()
    with engine.stream("Once", LONG) as stream:
        next(stream)
        before = engine.stats().output_tokens
        beside = engine.logits(range(2, 122))
        # So many rows do not fit beside a decoding one: they came in parts, a token after each.
        assert engine.stats().output_tokens - before >= 6
    assert beside.tobytes() == alone


def test_streams_go_on_while_a_model_is_loaded(smollm2_engine: Engine, smollm2: Path) -> None:
    engine = smollm2_engine
    with Engine(smollm2, device="cpu", share=False) as other:
        other.sleep()
        with engine.stream("Once", LONG) as stream:
            next(stream)
            before = engine.stats().output_tokens
            other.wake()
            assert engine.stats().output_tokens - before >= 3


def test_a_model_may_be_closed_while_its_logits_are_computed(smollm2: Path) -> None:
    engine = Engine(smollm2, device="cpu", share=False)
    with ThreadPoolExecutor(1) as pool:
        stream = engine.stream("Once", LONG)
        next(stream)
        rows = pool.submit(engine.logits, range(2, 1002))
        next(stream)
        engine.close()
        with pytest.raises(EngineClosedError):
            rows.result()


@pytest.mark.skipif(sys.platform != "linux", reason="psutil knows what is shared on Linux")
def test_readers_that_are_stuck_hold_nobody_up_and_little_memory(model: Path) -> None:
    params = SamplingParams(max_tokens=100, seed=3, ignore_eos=True)
    with Engine(model, device="cpu", share=False) as engine:
        expected = engine.generate([5, 6, 7], params)
        # Takes what a full batch takes once.
        engine.generate([[5, 6, 7]] * 256, params)
        process = psutil.Process()
        before = process.memory_info().rss
        stuck = [engine.stream([5, 6, 7], params) for _ in range(256)]
        assert engine.generate([5, 6, 7], params).outputs == expected.outputs
        while engine.stats().running:
            engine.generate([8], params)
        # 256 answers of 100 tokens.
        assert process.memory_info().rss - before < 256 * 100 * 500
        for stream in stuck:
            tokens = [token for chunk in stream for token in chunk.token_ids]
            assert tokens == expected.outputs[0].token_ids
