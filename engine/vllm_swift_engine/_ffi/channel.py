"""From the pump thread to whoever waits: a thread or an asyncio task.

A channel belongs to the requests of one submit call. The pump puts a batch of events, or an
exception that ends all of them; the consumer takes everything that has arrived.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import asyncio

FINISH_NONE, FINISH_STOP, FINISH_LENGTH, FINISH_CANCELLED, FINISH_ERROR = range(5)


class Event(NamedTuple):
    """``vsw_event`` with its tokens."""

    request: int
    sequence: int
    tokens: list[int]
    finish: int
    stop_token: int
    #: Tokens of the prompt, whose logprobs come before those of ``tokens``.
    prompt_tokens: int = 0
    #: Token id, logprob and rank; equally many for each token.
    logprobs: Sequence[tuple[int, float, int]] = ()


Batch = Sequence[Event] | BaseException


class Channel(Protocol):
    """Where the pump puts events. ``put`` is called from any thread and never blocks."""

    def put(self, batch: Batch) -> None: ...


class _Holder:
    """Keeps back, for a consumer that wants whole results, what tells of no end."""

    def __init__(self, whole: bool) -> None:
        self._whole = whole
        self._held: list[Event] = []

    def due(self, batch: Batch) -> Batch | None:
        """What the consumer is to be woken for now."""
        if not self._whole or isinstance(batch, BaseException):
            return batch
        self._held.extend(batch)
        if not any(event.finish for event in batch):
            return None
        due, self._held = self._held, []
        return due


class ThreadChannel:
    """For a consumer that blocks its thread; ``KeyboardInterrupt`` gets through.

    Args:
        whole: wake the consumer only when a sequence has ended.
    """

    def __init__(self, whole: bool = False) -> None:
        self._holder = _Holder(whole)
        # Reentrant by its contract: the collector may close a stream in the middle of a put.
        self._batches: queue.SimpleQueue[Batch] = queue.SimpleQueue()

    def put(self, batch: Batch) -> None:
        if (due := self._holder.due(batch)) is not None:
            self._batches.put(due)

    def get(self) -> Sequence[Event]:
        """Waits for the next batch; raises what ended the requests."""
        batch = self._batches.get()
        if isinstance(batch, BaseException):
            raise batch
        return batch


class TaskChannel:
    """For an asyncio task: wakes its own loop, once for all that arrived since it last looked.

    Args:
        whole: wake the consumer only when a sequence has ended.
    """

    def __init__(self, whole: bool = False) -> None:
        import asyncio

        self._holder = _Holder(whole)
        self.loop = asyncio.get_running_loop()
        self._batches: deque[Batch] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._wake_pending = False

    def put(self, batch: Batch) -> None:
        put_all([(self, batch)])

    def add(self, batch: Batch) -> bool:
        """Takes a batch in; whether its loop must `wake` it, which it is not going to yet."""
        if (due := self._holder.due(batch)) is None:
            return False
        self._batches.append(due)
        must, self._wake_pending = not self._wake_pending, True
        return must

    def clear(self) -> None:
        """Its loop is closed: its task is gone and nobody will look again."""
        self._batches.clear()

    def wake(self) -> None:
        # Lowered before the waiter looks, so a put from here on schedules another wake.
        self._wake_pending = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def get(self) -> Sequence[Event]:
        """Waits for the next batch; raises what ended the requests."""
        while not self._batches:
            self._waiter = self.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        batch = self._batches.popleft()
        if isinstance(batch, BaseException):
            raise batch
        return batch


def put_all(batches: Iterable[tuple[Channel, Batch]]) -> None:
    """Puts batches into channels, and wakes each event loop once for all of its tasks.

    A loop that was woken for the first of them would run right away, and where kernels have all
    processors the others would come a tick of the scheduler later.
    """
    due: dict[asyncio.AbstractEventLoop, list[TaskChannel]] = {}
    for channel, batch in batches:
        if not isinstance(channel, TaskChannel):
            channel.put(batch)
        elif channel.add(batch):
            due.setdefault(channel.loop, []).append(channel)
    for loop, channels in due.items():
        try:
            loop.call_soon_threadsafe(_wake, channels)
        except RuntimeError:
            for channel in channels:
                channel.clear()


def _wake(channels: list[TaskChannel]) -> None:
    for channel in channels:
        channel.wake()
