"""Streams that run at once, and when each of their tokens came."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from itertools import pairwise
from types import TracebackType

from benchmarks.engines import Unavailable


class Streams:
    """One for each generator, running while the context is open."""

    def __init__(self, streams: Sequence[Callable[[], AsyncGenerator[None]]]) -> None:
        self._streams = streams
        self.times: list[list[float]] = [[] for _ in streams]
        self._wanted = 0
        self._reached = asyncio.Event()

    async def __aenter__(self) -> Streams:
        self._running = [asyncio.create_task(self._run(i)) for i in range(len(self._streams))]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def reach(self, count: int) -> None:
        """Returns once every stream has had so many tokens."""
        self._wanted = count
        self._reached.clear()
        self._look()
        waiting = asyncio.create_task(self._reached.wait())
        try:
            await asyncio.wait([waiting, *self._running], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if not self._reached.is_set():
            raise Unavailable(f"a stream ended before token {count}")

    def gaps(self) -> list[list[tuple[float, float]]]:
        """The ends of each gap of each stream."""
        return [list(pairwise(one)) for one in self.times]

    async def _run(self, index: int) -> None:
        async with aclosing(self._streams[index]()) as tokens:
            async for _ in tokens:
                self.times[index].append(time.perf_counter())
                self._look()

    def _look(self) -> None:
        if all(len(one) >= self._wanted for one in self.times):
            self._reached.set()
