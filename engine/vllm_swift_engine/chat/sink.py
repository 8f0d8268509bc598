"""Where a format's routine puts what it has read, and what it becomes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

from .deltas import ChatDelta, InvalidToolCall, ToolCallDelta


def openai_id() -> str:
    """An id for a tool call whose format has none."""
    return f"call_{os.urandom(12).hex()}"


def json_object_error(text: str) -> str | None:
    """Why a text is not a JSON object; None where it is one."""
    try:
        value = json.loads(text, parse_constant=no_constant)
    except ValueError as error:
        return f"The arguments are not valid JSON: {error}."
    except RecursionError:
        return "The arguments are nested too deeply."
    return None if isinstance(value, dict) else "The arguments are not a JSON object."


def no_constant(name: str) -> None:
    """For ``json.loads``: NaN and the infinities are refused."""
    raise ValueError(f"{name} is no JSON")


class _Channel:
    """Text without the white space that borders a marker, which is the template's layout."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._held = ""
        self._after_marker = False

    def write(self, piece: str) -> None:
        if self._after_marker:
            piece = piece.lstrip()
            self._after_marker = not piece
        kept = piece.rstrip()
        if kept:
            self.parts.append(self._held + kept)
            self._held = piece[len(kept) :]
        else:
            self._held += piece

    def border(self) -> None:
        self._held, self._after_marker = "", True

    def take(self) -> str:
        text = "".join(self.parts)
        self.parts.clear()
        return text

    def close(self) -> None:
        self.parts.append(self._held)
        self._held = ""


class Sink:
    """Gathers text, reasoning and tool calls until they are taken."""

    def __init__(self, new_id: Callable[[], str] = openai_id) -> None:
        self.thinking = False
        #: Characters of reasoning so far, layout included.
        self.reasoning_length = 0
        self._new_id = new_id
        self._text, self._reasoning = _Channel(), _Channel()
        self._calls: list[ToolCallDelta] = []
        self._invalid: list[InvalidToolCall] = []
        self._count = 0
        self._open: tuple[int, str, str] | None = None
        self._arguments = ""

    def text(self, piece: str) -> None:
        """Adds to the answer."""
        self._text.write(piece)

    def reasoning(self, piece: str) -> None:
        """Adds to the reasoning."""
        self.reasoning_length += len(piece)
        self._reasoning.write(piece)

    def border(self) -> None:
        """A marker was read here."""
        (self._reasoning if self.thinking else self._text).border()

    def think(self, on: bool) -> None:
        """A marker that begins or ends the reasoning was read."""
        self.border()
        self.thinking = on
        self.border()

    def begin_call(self, name: str, id: str | None = None) -> None:
        """A tool call of this name begins; :meth:`arguments` follow."""
        self._open = (self._count, id or self._new_id(), name)
        self._arguments = ""
        self._count += 1
        index, id, name = self._open
        self._calls.append(ToolCallDelta(index, id, name, ""))

    @property
    def in_call(self) -> bool:
        """Whether a call has begun and not ended."""
        return self._open is not None

    def arguments(self, piece: str) -> None:
        """Adds to the open call's JSON."""
        assert self._open is not None
        self._arguments += piece
        self._calls.append(ToolCallDelta(self._open[0], None, None, piece))

    def argument_error(self) -> str | None:
        """What is wrong with the open call's arguments."""
        return json_object_error(self._arguments)

    def end_call(self) -> None:
        """The open call is complete."""
        self._open = None

    def invalid(self, text: str, error: str) -> None:
        """What was read as a call, ``text``, is none; the open call is void."""
        index, id, name = self._open or (None, None, None)
        self._invalid.append(InvalidToolCall(index, id, name, text, error))
        self._open = None

    def close(self) -> None:
        """The end of the stream: held white space was no layout."""
        self._text.close()
        self._reasoning.close()

    def take(self) -> ChatDelta:
        """What came since the last call; pieces of the same call as one."""
        text, reasoning = self._text.take(), self._reasoning.take()
        if not self._calls and not self._invalid:
            return ChatDelta(text, reasoning)
        delta = ChatDelta(text, reasoning, tuple(_joined(self._calls)), tuple(self._invalid))
        self._calls, self._invalid = [], []
        return delta


def _joined(pieces: list[ToolCallDelta]) -> list[ToolCallDelta]:
    joined: list[ToolCallDelta] = []
    for piece in pieces:
        if joined and joined[-1].index == piece.index:
            first = joined.pop()
            piece = ToolCallDelta(
                first.index, first.id, first.name, first.arguments + piece.arguments
            )
        joined.append(piece)
    return joined
