"""Text that arrives in pieces, for code that reads it as if all of it were there."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from .stop import possible_start

T = TypeVar("T")

#: A routine that yields whenever it needs more text.
Steps = Generator[None, None, T]


class Markers:
    """Literal strings to look for; compiled once for a format."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = sorted(set(texts), key=len, reverse=True)
        self.pattern = re.compile("|".join(map(re.escape, self.texts)) or "(?!)")


class Reader:
    """Methods are generators that yield while what they look for may still be on its way.

    Each decides by the text alone, never by where it was cut.
    """

    def __init__(self) -> None:
        self.ended = False
        self._text = ""
        self._record: list[str] | None = None

    def feed(self, text: str) -> None:
        """Adds what came in."""
        self._text += text

    @property
    def at_end(self) -> bool:
        """Whether there is nothing left, now and later."""
        return self.ended and not self._text

    def record(self) -> None:
        """From here on, keeps what is read for :meth:`recorded`."""
        self._record = []

    def recorded(self) -> str:
        """What was read since :meth:`record`."""
        return "".join(self._record or ())

    def take(self, count: int) -> str:
        """Reads so many characters of those that are there."""
        taken, self._text = self._text[:count], self._text[count:]
        if self._record is not None:
            self._record.append(taken)
        return taken

    def until(self, markers: Markers, emit: Callable[[str], None]) -> Steps[str | None]:
        """Passes text on up to the first marker, and reads that too. None at the end.

        The first is the one that begins first, of several that begin together the longest.
        """
        while True:
            text = self._text
            found = markers.pattern.search(text)
            open_end = len(text)
            if not self.ended:
                open_end -= possible_start(text, markers.texts)
            if found is not None and found.start() < open_end:
                if found.start():
                    emit(self.take(found.start()))
                return self.take(len(found[0]))
            if open_end:
                emit(self.take(open_end))
            if self.ended:
                return None
            yield

    def more(self) -> Steps[bool]:
        """Waits until there is text. False at the end."""
        while not self._text:
            if self.ended:
                return False
            yield
        return True

    def peek(self) -> Steps[str]:
        """The next character, which stays; empty at the end."""
        there = yield from self.more()
        return self._text[0] if there else ""

    def skip(self, pattern: re.Pattern[str]) -> Steps[str]:
        """Reads the longest run of the characters that ``pattern`` is a class of."""
        taken = ""
        while (yield from self.more()):
            found = pattern.match(self._text)
            if found is None:
                break
            taken += self.take(found.end())
            if self._text:
                break
        return taken

    def space(self) -> Steps[str]:
        """Reads white space."""
        taken = yield from self.skip(_SPACE)
        return taken

    def literal(self, *options: str) -> Steps[str | None]:
        """Reads the longest of these that comes next, if one does."""
        while True:
            text = self._text
            waiting = not self.ended and any(
                len(option) > len(text) and option.startswith(text) for option in options
            )
            if not waiting:
                found = max((one for one in options if text.startswith(one)), key=len, default=None)
                return None if found is None else self.take(len(found))
            yield

    def available(self) -> str:
        """The text that is there and not read yet."""
        return self._text


_SPACE = re.compile(r"\s+")
