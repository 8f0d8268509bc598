"""The engine over a native side that does what the test says."""

from __future__ import annotations

import asyncio
import gc
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.unit.engine.fake_native import CANCELLED, ERROR, LENGTH, STOP, FakeLibrary
from vllm_swift_engine import Engine, SamplingParams
from vllm_swift_engine.errors import (
    BackendError,
    EmptyPromptError,
    EngineClosedError,
    InvalidArgumentError,
    InvalidTokenError,
    MemoryBudgetError,
    PromptTooLongError,
    VLLMSwiftError,
)


def test_generate_returns_text_usage_and_timings(engine: Engine) -> None:
    result = engine.generate("hello world")
    assert result.text == "hello world"
    assert result.outputs[0].token_ids == engine.tokenize("hello world") == result.prompt_token_ids
    assert result.outputs[0].finish_reason == "stop"
    count = len(result.prompt_token_ids)
    assert (result.usage.prompt_tokens, result.usage.completion_tokens) == (count, count)
    assert result.usage.total_tokens == 2 * count
    assert result.timings.time_to_first_token_s == pytest.approx(0.003)
    assert result.timings.tokens_per_second == pytest.approx(count - 1)


def test_stream_joins_to_the_same_text_and_ends_with_usage(engine: Engine) -> None:
    chunks = list(engine.stream("hello 😀 world"))
    assert "".join(chunk.text for chunk in chunks) == "hello 😀 world"
    tokens = [token for chunk in chunks for token in chunk.token_ids]
    assert tokens == engine.tokenize("hello 😀 world")
    assert all(chunk.usage is None and chunk.text for chunk in chunks[:-1])
    assert chunks[-1].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == len(tokens)


def test_special_tokens_are_text_where_asked_for(engine: Engine) -> None:
    prompt = [*engine.tokenize("hello"), engine.tokenize("<|end|>")[0], *engine.tokenize(" world")]
    for params, text in (
        (SamplingParams(), "hello world"),
        (SamplingParams(skip_special_tokens=False), "hello<|end|> world"),
        (SamplingParams(skip_special_tokens=False, stop="<|end|>"), "hello"),
        (SamplingParams(skip_special_tokens=False, stop="d|>"), "hello<|en"),
        (SamplingParams(stop="<|end|>"), "hello world"),
    ):
        assert engine.generate(prompt, params).text == text
        assert "".join(chunk.text for chunk in engine.stream(prompt, params)) == text


def test_a_list_of_prompts_keeps_its_order(engine: Engine) -> None:
    results = engine.generate(["a long first prompt", "b", [104, 101]])
    assert [result.text for result in results][:2] == ["a long first prompt", "b"]
    assert results[2].outputs[0].token_ids == [104, 101]


def test_one_params_for_each_prompt(engine: Engine, native: FakeLibrary) -> None:
    params = [SamplingParams(max_tokens=3), SamplingParams(max_tokens=None, seed=2**64 - 1)]
    engine.generate(["a", "bb"], params)
    assert [made["max_tokens"] for made in native.sampling] == [3, engine.info.max_model_len - 2]
    assert [made["has_seed"] for made in native.sampling] == [0, 1]
    assert native.sampling[1]["seed"] == 2**64 - 1
    with pytest.raises(InvalidArgumentError, match="2 prompts but 1"):
        engine.generate(["a", "b"], [SamplingParams()])


def test_the_models_end_token_and_the_callers_are_passed(
    engine: Engine, native: FakeLibrary
) -> None:
    end = engine.tokenize("<|end|>")
    engine.generate("a", SamplingParams(stop_token_ids=[5, *end]))
    assert native.sampling[0]["stop"] == [5, *end]
    assert native.sampling[0]["eos"] == end


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_string_ends_the_text_and_cancels_the_request(
    engine: Engine, native: FakeLibrary, stream: bool
) -> None:
    native.script = lambda prompt: [*([token] for token in prompt * 20), LENGTH]
    params = SamplingParams(stop=["llo wo", "zzz"])
    if stream:
        chunks = list(engine.stream("hello world", params))
        text, last = "".join(chunk.text for chunk in chunks), chunks[-1]
        tokens = [token for chunk in chunks for token in chunk.token_ids]
        finish, reason = last.finish_reason, last.stop_reason
    else:
        output = engine.generate("hello world", params).outputs[0]
        text, tokens, finish, reason = (
            output.text,
            output.token_ids,
            output.finish_reason,
            output.stop_reason,
        )
    assert (text, finish, reason) == ("he", "stop", "llo wo")
    assert engine.detokenize(tokens) == "hello wo"
    assert len(native.released) == 1
    assert engine.stats().running == 0


def test_tokens_of_one_event_after_the_stop_string_are_dropped(
    engine: Engine, native: FakeLibrary
) -> None:
    native.script = lambda prompt: [prompt, LENGTH]
    output = engine.generate("hello there", SamplingParams(stop=" ")).outputs[0]
    assert (output.text, engine.detokenize(output.token_ids)) == ("hello", "hello ")


def test_an_incomplete_character_at_the_end_is_replaced(
    engine: Engine, native: FakeLibrary
) -> None:
    native.script = lambda prompt: [prompt[:-1], LENGTH]
    assert engine.generate("né").text == "n\ufffd"


def test_a_failed_request_raises_its_error_and_leaves_the_engine_usable(
    engine: Engine, native: FakeLibrary
) -> None:
    native.script = lambda prompt: [[prompt[0]], ERROR]
    with pytest.raises(BackendError, match="on fire") as caught:
        engine.generate("a")
    assert caught.value.code == 70
    stream = engine.stream("a")
    with pytest.raises(BackendError):
        list(stream)
    native.script = lambda prompt: [prompt, STOP]
    assert engine.generate("a").text == "a"


def test_cancelled_by_the_engine_is_a_finish_reason(engine: Engine, native: FakeLibrary) -> None:
    native.script = lambda prompt: [prompt, CANCELLED]
    assert engine.generate("ab").outputs[0].finish_reason == "cancelled"


@pytest.mark.parametrize(
    ("prompt", "error"),
    [
        ("", EmptyPromptError),
        ([], EmptyPromptError),
        ([10_000], InvalidTokenError),
        ([-1], InvalidTokenError),
        ([2**40], InvalidTokenError),
        ([1.5], InvalidArgumentError),
        (["a", 1.5], InvalidArgumentError),
        (7, InvalidArgumentError),
        (None, InvalidArgumentError),
        (b"bytes", InvalidArgumentError),
        ("\ud800", InvalidArgumentError),
        ("x" * 64, PromptTooLongError),
        (["good", ""], EmptyPromptError),
    ],
)
def test_bad_prompts(engine: Engine, prompt: object, error: type[VLLMSwiftError]) -> None:
    with pytest.raises(error):
        engine.generate(prompt)  # type: ignore[call-overload]
    assert engine.generate("a").text == "a"


def test_bad_params(engine: Engine) -> None:
    with pytest.raises(InvalidArgumentError, match="SamplingParams"):
        engine.generate("a", {"temperature": 0})  # type: ignore[call-overload]
    with pytest.raises(InvalidTokenError, match="9999"):
        engine.generate("a", SamplingParams(stop_token_ids=[9999]))


def test_closing_a_stream_cancels_its_request(engine: Engine, native: FakeLibrary) -> None:
    native.script = lambda prompt: [*([token] for token in prompt * 1000), LENGTH]
    with engine.stream("ab") as stream:
        assert next(stream).text
    assert engine.stats().running == 0
    assert list(stream) == []
    stream.close()


def test_dropping_a_stream_cancels_its_request(engine: Engine, native: FakeLibrary) -> None:
    native.hold = True
    stream = engine.stream("ab")
    assert engine.stats().running == 1
    del stream
    gc.collect()
    assert engine.stats().running == 0


def test_an_interrupt_right_after_submission_leaves_nothing_running(
    engine: Engine, native: FakeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    native.hold = True
    submit = native.vsw_submit

    def interrupted(*arguments: Any) -> int:
        submit(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(native, "vsw_submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine.generate(["ab", "cd"])
    assert engine.stats().running == 0
    assert len(native.released) == 2


def test_closing_a_stream_from_another_thread_ends_the_iteration(
    engine: Engine, native: FakeLibrary
) -> None:
    native.hold = True
    stream = engine.stream("ab")
    got: list[object] = []
    reader = threading.Thread(target=lambda: got.extend(stream))
    reader.start()
    stream.close()
    reader.join(timeout=30)
    assert not reader.is_alive()
    assert got == []


def test_closing_the_engine_ends_what_waits_on_it(engine: Engine, native: FakeLibrary) -> None:
    native.hold = True
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            engine.generate("ab")
        except EngineClosedError as error:
            errors.append(error)

    stream = engine.stream("x")
    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    native.wait_for_running(5)
    closers = [threading.Thread(target=engine.close) for _ in range(3)]
    for thread in closers:
        thread.start()
    for thread in (*threads, *closers):
        thread.join(timeout=30)
        assert not thread.is_alive()
    assert len(errors) == 4
    with pytest.raises(EngineClosedError):
        next(stream)
    with pytest.raises(EngineClosedError):
        engine.generate("a")
    with pytest.raises(EngineClosedError):
        engine.stats()
    assert not native.models


def test_equal_engines_share_one_model(native: FakeLibrary, model_folder: Path) -> None:
    first, second = Engine(model_folder), Engine(str(model_folder))
    other = Engine(model_folder, max_model_len=32)
    alone = Engine(model_folder, share=False)
    assert native.loads == 3
    first.close()
    assert second.generate("a").text == "a"
    for engine in (second, other, alone):
        engine.close()
    assert not native.models


def test_a_changed_file_is_another_model(native: FakeLibrary, model_folder: Path) -> None:
    with Engine(model_folder):
        config = model_folder / "config.json"
        config.write_text(config.read_text() + "\n")
        with Engine(model_folder):
            assert native.loads == 2


def test_threads_that_open_at_once_load_once(native: FakeLibrary, model_folder: Path) -> None:
    engines: list[Engine] = []
    threads = [
        threading.Thread(target=lambda: engines.append(Engine(model_folder))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(engines), native.loads) == (8, 1)
    engines.clear()
    gc.collect()
    assert not native.models


def test_a_dropped_engine_frees_its_model_but_not_under_its_stream(
    native: FakeLibrary, model_folder: Path
) -> None:
    stream = Engine(model_folder).stream("hello")
    gc.collect()
    assert "".join(chunk.text for chunk in stream) == "hello"
    del stream
    gc.collect()
    assert not native.models


def test_a_failed_load_leaves_nothing_behind(native: FakeLibrary, model_folder: Path) -> None:
    config = model_folder / "config.json"
    good = config.read_text()
    config.write_text('{"fail": [50, "needs 9 GB"]}')
    with pytest.raises(MemoryBudgetError, match="9 GB"):
        Engine(model_folder)
    config.write_text(good)
    with Engine(model_folder) as engine:
        assert engine.generate("a").text == "a"


def test_a_stream_can_be_collected_whatever_locks_are_held(
    engine: Engine, native: FakeLibrary
) -> None:
    """The collector runs in any thread, also while another one holds the locks it would need."""
    native.hold = True
    streams = [engine.stream("ab")]
    dropper = threading.Thread(target=streams.clear, daemon=True)
    with engine._session._lock, engine._session.runtime._lock:
        dropper.start()
        dropper.join(timeout=30)
        assert not dropper.is_alive()
    assert engine.stats().running == 0


async def test_agenerate_runs_side_by_side(engine: Engine) -> None:
    results = await asyncio.gather(*(engine.agenerate(f"prompt {index}") for index in range(20)))
    assert [result.text for result in results] == [f"prompt {index}" for index in range(20)]


async def test_astream(engine: Engine) -> None:
    chunks = [chunk async for chunk in engine.astream("hello 😀")]
    assert "".join(chunk.text for chunk in chunks) == "hello 😀"
    assert chunks[-1].usage is not None


async def test_cancelling_a_task_cancels_its_request(engine: Engine, native: FakeLibrary) -> None:
    native.hold = True
    task = asyncio.create_task(engine.agenerate("ab"))
    await asyncio.sleep(0)
    assert engine.stats().running == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.stats().running == 0


async def test_aclose_cancels_and_ends(engine: Engine, native: FakeLibrary) -> None:
    native.script = lambda prompt: [*([token] for token in prompt * 1000), LENGTH]
    stream = engine.astream("ab")
    assert (await anext(stream)).text
    await stream.aclose()
    assert [chunk async for chunk in stream] == []
    assert engine.stats().running == 0


async def test_closing_the_engine_ends_tasks_too(engine: Engine, native: FakeLibrary) -> None:
    native.hold = True
    task = asyncio.create_task(engine.agenerate("ab"))
    await asyncio.sleep(0)
    engine.close()
    with pytest.raises(EngineClosedError):
        await task


def test_a_task_of_a_dead_loop_does_not_disturb_others(engine: Engine, native: FakeLibrary) -> None:
    native.hold = True

    async def leave() -> object:
        return engine.astream("ab")

    left = asyncio.run(leave())
    native.resume()
    assert engine.generate("hello").text == "hello"
    del left


def test_the_end_of_the_runtime_ends_requests(engine: Engine, native: FakeLibrary) -> None:
    native.hold = True
    stream = engine.stream("ab")
    native.vsw_runtime_destroy(None)
    with pytest.raises(EngineClosedError):
        list(stream)
    with pytest.raises(EngineClosedError):
        engine.generate("ab")
