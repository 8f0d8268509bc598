"""Iterators over the chunks of one request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import TracebackType

from ._ffi.channel import TaskChannel, ThreadChannel
from .errors import RequestCancelledError
from .generation import Generation
from .outputs import StreamChunk, TokenLogprobs


class TokenStream(Iterator[StreamChunk]):
    """The chunks of a request, as they are generated.

    Closing it, leaving its ``with`` block, dropping it, or an exception while it waits cancels the
    request. It keeps its engine alive.
    """

    def __init__(self, generation: Generation[ThreadChannel], engine: object) -> None:
        self._generation = generation
        self._engine = engine
        self._ended = False

    @property
    def prompt_token_ids(self) -> list[int]:
        """The prompt as it was tokenized."""
        return self._generation.prompt_token_ids

    @property
    def prompt_logprobs(self) -> list[TokenLogprobs | None] | None:
        """As in ``RequestOutput``; complete once there is a chunk."""
        return self._generation.prompt_logprobs

    def __next__(self) -> StreamChunk:
        if self._ended:
            raise StopIteration
        try:
            while (chunk := self._generation.take()) is None:
                self._generation.require_usable()
                self._generation.feed(self._generation.channel.get())
        except RequestCancelledError:
            self._ended = True
            if self._generation.closed:
                raise StopIteration from None
            raise
        except BaseException:
            self.close()
            raise
        self._ended = chunk.usage is not None
        return chunk

    def close(self) -> None:
        """Cancels the request if it still runs; the iteration is over. Idempotent."""
        self._ended = True
        self._generation.close()

    def __enter__(self) -> TokenStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncTokenStream(AsyncIterator[StreamChunk]):
    """The same for asyncio. Cancelling the task that waits for a chunk cancels the request."""

    def __init__(self, generation: Generation[TaskChannel], engine: object) -> None:
        self._generation = generation
        self._engine = engine
        self._ended = False

    @property
    def prompt_token_ids(self) -> list[int]:
        """The prompt as it was tokenized."""
        return self._generation.prompt_token_ids

    @property
    def prompt_logprobs(self) -> list[TokenLogprobs | None] | None:
        """As in ``RequestOutput``; complete once there is a chunk."""
        return self._generation.prompt_logprobs

    async def __anext__(self) -> StreamChunk:
        if self._ended:
            raise StopAsyncIteration
        try:
            while (chunk := self._generation.take()) is None:
                self._generation.require_usable()
                self._generation.feed(await self._generation.channel.get())
        except RequestCancelledError:
            self._ended = True
            if self._generation.closed:
                raise StopAsyncIteration from None
            raise
        except BaseException:
            await self.aclose()
            raise
        self._ended = chunk.usage is not None
        return chunk

    async def aclose(self) -> None:
        """Cancels the request if it still runs; the iteration is over. Idempotent."""
        self._ended = True
        self._generation.close()

    async def __aenter__(self) -> AsyncTokenStream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
