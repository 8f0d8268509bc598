"""A format's routine, fed with pieces of text."""

from __future__ import annotations

from collections.abc import Callable

from .deltas import ChatDelta
from .reader import Reader, Steps
from .sink import Sink

#: Reads an answer to its end.
Routine = Callable[[Reader, Sink], Steps[None]]


class PlainParser:
    """For an answer that is nothing but text."""

    reasoning_tokens = 0

    def push(self, text: str, tokens: int = 0) -> ChatDelta:
        """Passes the text on."""
        return ChatDelta(text)

    def flush(self) -> ChatDelta:
        """Nothing was held back."""
        return ChatDelta()


class StreamParser:
    """Runs a routine as far as the text goes.

    ``reasoning_tokens`` is exact when tokens come one by one. Those of a piece in which reasoning
    begins or ends are counted by its share of the piece.
    """

    def __init__(self, routine: Routine, sink: Sink) -> None:
        self.reasoning_tokens = 0
        self._reader, self._sink = Reader(), sink
        self._steps = routine(self._reader, sink)
        # Up to where it wants text: it may begin in reasoning.
        next(self._steps, None)

    def push(self, text: str, tokens: int = 0) -> ChatDelta:
        """Takes the next piece of text, of so many tokens."""
        if not text:
            self.reasoning_tokens += tokens if self._sink.thinking else 0
            return self._sink.take()
        before, length = self._sink.thinking, self._sink.reasoning_length
        self._reader.feed(text)
        next(self._steps, None)
        if before and self._sink.thinking:
            self.reasoning_tokens += tokens
        elif tokens and (added := self._sink.reasoning_length - length):
            self.reasoning_tokens += round(tokens * min(1.0, added / len(text)))
        return self._sink.take()

    def flush(self) -> ChatDelta:
        """What was held back, once no more text can come."""
        self._reader.ended = True
        next(self._steps, None)
        self._sink.close()
        return self._sink.take()
