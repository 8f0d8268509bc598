"""Batches of a synchronous caller: all inputs in the engine at once, and one thread for them.

LangChain answers a batch with a pool of a few threads, so that an engine sees a few requests at a
time. Here the inputs are tasks of one event loop, in a thread that lasts as long as the call. Each
of them runs through the model's own ``ainvoke``, so callbacks, caches, rate limiters and configs
are LangChain's.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, whether or not the caller's thread has a running event loop.

    An exception while it waits, KeyboardInterrupt too, cancels the coroutine.
    """
    with _running(coroutine) as result:
        return result.result()


async def gather(
    ainvoke: Callable[[Any, RunnableConfig], Awaitable[T]],
    inputs: Sequence[Any],
    configs: Sequence[RunnableConfig],
    *,
    return_exceptions: bool,
) -> list[T | Exception]:
    """What `ainvoke` answers to each input, in order.

    Without `return_exceptions` it does what a pool does: after an exception no input is begun any
    more, and when the others have ended the first exception, in the order of the inputs, is raised.
    """
    slots = asyncio.Semaphore(configs[0].get("max_concurrency") or len(inputs))
    failed = False

    async def answer(given: Any, config: RunnableConfig) -> T | Exception | None:
        nonlocal failed
        async with slots:
            if failed:
                return None
            try:
                return await ainvoke(given, config)
            except Exception as error:
                failed = not return_exceptions
                return error

    outputs: list[Any] = await asyncio.gather(*map(answer, inputs, configs))
    if failed:
        raise next(output for output in outputs if isinstance(output, Exception))
    return outputs


def as_completed(answers: AsyncIterator[T]) -> Iterator[T]:
    """The items of an asynchronous iterator, each as it comes. Closing this cancels what runs."""
    arrived: queue.SimpleQueue[tuple[T] | None] = queue.SimpleQueue()

    async def drain() -> None:
        try:
            async for answer in answers:
                arrived.put((answer,))
        finally:
            arrived.put(None)

    with _running(drain()) as result:
        while (answer := arrived.get()) is not None:
            yield answer[0]
        result.result()


@contextmanager
def _running(coroutine: Coroutine[Any, Any, T]) -> Iterator[Future[T]]:
    """A coroutine on an event loop of its own, in the caller's context; leaving cancels it."""
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[T]]] = Future()

    async def main() -> T:
        task = asyncio.ensure_future(coroutine)
        begun.set_result((asyncio.get_running_loop(), task))
        return await task

    with ThreadPoolExecutor(1, "vllm-swift-batch") as thread:
        result = thread.submit(copy_context().run, asyncio.run, main())
        try:
            yield result
        finally:
            either: tuple[Future[Any], ...] = (begun, result)
            wait(either, return_when=FIRST_COMPLETED)
            if begun.done():
                loop, task = begun.result()
                with suppress(RuntimeError):  # the loop is closed: it is over
                    loop.call_soon_threadsafe(task.cancel)
