"""What a chat model's output is made of, whole and in pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a tool call. Its first piece has ``id`` and ``name``."""

    #: The call's number in this answer, from 0.
    index: int
    id: str | None
    name: str | None
    #: JSON text; the pieces of a call, joined, are a JSON object.
    arguments: str


@dataclass(frozen=True, slots=True)
class InvalidToolCall:
    """What began like a tool call and is none. Cannot happen while a grammar is in force."""

    #: Of the call that was already handed out in pieces, which is void; None when none was.
    index: int | None
    id: str | None
    name: str | None
    #: All of it as the model wrote it, markers included.
    text: str
    #: What is wrong with it, in a sentence.
    error: str


# Not frozen, since one is made for each token: a frozen one takes three times as long to make.
@dataclass(slots=True)
class ChatDelta:
    """What became known since the last one."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    invalid_tool_calls: tuple[InvalidToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A whole tool call; ``arguments`` is the text of a JSON object."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """A whole answer."""

    text: str
    reasoning: str
    tool_calls: tuple[ToolCall, ...]
    invalid_tool_calls: tuple[InvalidToolCall, ...]
    reasoning_tokens: int


class ChatParser(Protocol):
    """Splits the text of one generated sequence. It never raises, whatever the text is."""

    reasoning_tokens: int

    def push(self, text: str, tokens: int = 0) -> ChatDelta:
        """Takes the next piece of text, of so many tokens. Any cuts give the same when joined."""
        ...

    def flush(self) -> ChatDelta:
        """What was held back, once no more text can come."""
        ...
