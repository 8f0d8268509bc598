"""When a consumer is woken, and for what."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from vllm_swift_engine._ffi.channel import (
    FINISH_LENGTH,
    FINISH_NONE,
    Event,
    TaskChannel,
    ThreadChannel,
    put_all,
)
from vllm_swift_engine.errors import RequestCancelledError


def event(request: int, token: int, finish: int = FINISH_NONE) -> Event:
    return Event(request, 0, [token], finish, -1)


STEPS: list[Sequence[Event]] = [
    [event(1, 10), event(2, 20)],
    [event(1, 11), event(2, 21)],
    [event(1, 12, FINISH_LENGTH), event(2, 22)],
    [event(2, 23)],
    [event(2, 24, FINISH_LENGTH)],
]
TO_THE_FIRST_END, TO_THE_SECOND = STEPS[0:3], STEPS[3:5]


def joined(steps: list[Sequence[Event]]) -> list[Event]:
    return [one for step in steps for one in step]


def test_a_thread_that_wants_whole_results_is_woken_for_ends() -> None:
    channel = ThreadChannel(whole=True)
    for step in STEPS:
        channel.put(step)
    assert [channel.get(), channel.get()] == [joined(TO_THE_FIRST_END), joined(TO_THE_SECOND)]


async def test_a_task_that_wants_whole_results_is_woken_for_ends() -> None:
    channel = TaskChannel(whole=True)
    waiting = asyncio.create_task(channel.get())
    for step in STEPS[:2]:
        channel.put(step)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    channel.put(STEPS[2])
    assert await waiting == joined(TO_THE_FIRST_END)


async def test_others_get_each_step_at_once() -> None:
    for_thread, for_task = ThreadChannel(), TaskChannel()
    for step in STEPS:
        for_thread.put(step)
        for_task.put(step)
        assert for_thread.get() == await for_task.get() == step


async def test_a_loop_is_woken_once_for_all_of_its_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, wakes = asyncio.get_running_loop(), 0
    schedule = loop.call_soon_threadsafe

    def counted(*arguments: Any, **options: Any) -> asyncio.Handle:
        nonlocal wakes
        wakes += 1
        return schedule(*arguments, **options)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    channels = [TaskChannel() for _ in range(4)]
    waiting = [asyncio.create_task(channel.get()) for channel in channels]
    await asyncio.sleep(0)
    step = [[event(number, 10)] for number in range(4)]
    put_all(zip(channels, step, strict=True))
    assert await asyncio.gather(*waiting) == step
    assert wakes == 1


@pytest.mark.parametrize("whole", [False, True])
def test_an_exception_comes_at_once(whole: bool) -> None:
    channel = ThreadChannel(whole=whole)
    channel.put(RequestCancelledError("cancelled"))
    with pytest.raises(RequestCancelledError):
        channel.get()
