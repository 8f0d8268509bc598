"""Tool calls that are JSON objects: ``{"name": ..., "arguments": {...}}`` and its like."""

from __future__ import annotations

from collections.abc import Container

from .json_text import read_string, read_value
from .reader import Markers, Reader, Steps
from .sink import Sink, json_object_error

#: The keys under which models put the arguments.
ARGUMENT_KEYS = ("arguments", "parameters")


def read_call(reader: Reader, sink: Sink, names: Container[str] | None = None) -> Steps[str | None]:
    """Reads one call object; its arguments are passed on as they come once its name is known.

    With ``names``, an object is an error as soon as it does not look like a call of one of these.
    Returns what is wrong with it, or None. After an error the call may be half read: the caller
    reads on to where it must end, see :func:`recover`. A call whose arguments are complete stands,
    whatever follows them.
    """
    yield from reader.space()
    if (yield from reader.literal("{")) is None:
        return "A tool call must be a JSON object."
    call = _Call(reader, sink, names)
    error = yield from call.members()
    return call.complete(error)


def read_calls(reader: Reader, sink: Sink) -> Steps[str | None]:
    """Reads one call object, or a JSON list of them. Returns what is wrong, or None."""
    yield from reader.space()
    if (yield from reader.literal("[")) is None:
        error = yield from read_call(reader, sink)
        return error
    error = yield from read_call_list(reader, sink)
    return error


def read_call_list(reader: Reader, sink: Sink) -> Steps[str | None]:
    """Reads the rest of a list of calls. Returns what is wrong, or None."""
    yield from reader.space()
    if (yield from reader.literal("]")) is not None:
        return None
    while True:
        error = yield from read_call(reader, sink)
        if error:
            return error
        # From here on, what is wrong is another call's.
        reader.record()
        yield from reader.space()
        if (yield from reader.literal(",")) is None:
            yield from reader.literal("]")
            return None


def read_arguments(reader: Reader, sink: Sink) -> Steps[str | None]:
    """Reads the open call's arguments, a JSON object by itself. Returns what is wrong, or None."""
    complete = yield from read_value(reader, sink.arguments)
    if not complete:
        return "The arguments are incomplete."
    return sink.argument_error()


def recover(
    reader: Reader, sink: Sink, opening: str, error: str, closings: Markers | None
) -> Steps[str | None]:
    """Reads a broken call up to where it ends, and reports it. ``reader`` has recorded it.

    What a call has that was handed out in pieces is completed, so that nobody takes it for whole.
    Returns what ended it, None at the end.
    """
    rest: list[str] = []
    ended = yield from reader.until(closings or Markers(()), rest.append)
    if sink.in_call and rest:
        sink.arguments("".join(rest))
    sink.invalid(opening + reader.recorded(), error)
    return ended


class _Call:
    def __init__(self, reader: Reader, sink: Sink, names: Container[str] | None) -> None:
        self._reader = reader
        self._sink = sink
        self._names = names
        self._name: str | None = None
        self._id: str | None = None
        self._nested = False
        self._arguments: str | None = None
        #: The arguments were handed out, and are whole.
        self._streamed = False

    def members(self) -> Steps[str | None]:
        """Reads up to the closing brace."""
        reader = self._reader
        while True:
            yield from reader.space()
            if (yield from reader.literal("}")) is not None:
                return None
            key = yield from read_string(reader)
            if key is None:
                return "The tool call is not valid JSON."
            yield from reader.space()
            if (yield from reader.literal(":")) is None:
                return "The tool call is not valid JSON."
            error = yield from self._member(key)
            if error:
                return error
            yield from reader.space()
            if (yield from reader.literal(",")) is None and (yield from reader.peek()) != "}":
                return "The tool call is not valid JSON."

    def _member(self, key: str) -> Steps[str | None]:
        reader = self._reader
        yield from reader.space()
        first = yield from reader.peek()
        if key == "function" and first == "{" and not self._nested:
            # OpenAI's shape: name and arguments one level down.
            self._nested = True
            reader.take(1)
            error = yield from self.members()
            return error
        if key in ("name", "function", "id") and first == '"':
            value = yield from read_string(reader)
            if value is None:
                return f"The tool call's {key} is not a valid string."
            if key == "id":
                self._id = value
            elif self._names is not None and value not in self._names:
                return f"There is no tool {value!r}."
            elif self._name is None:
                self._name = value
            return None
        if key in ARGUMENT_KEYS:
            error = yield from self._member_arguments(first)
            return error
        if key == "type" and (yield from read_string(reader)) == "function":
            return None
        return f"A tool call has no {key!r}."

    def _member_arguments(self, first: str) -> Steps[str | None]:
        if self._streamed or self._arguments is not None:
            return "The tool call has its arguments twice."
        if first == "{" and self._name:
            self._sink.begin_call(self._name, self._id)
            error = yield from read_arguments(self._reader, self._sink)
            self._streamed = error is None
            return error
        if first == '"':
            self._arguments = yield from read_string(self._reader)
            return None if self._arguments is not None else "The arguments are incomplete."
        parts: list[str] = []
        complete = yield from read_value(self._reader, parts.append)
        text = "".join(parts)
        self._arguments = "{}" if text == "null" else text
        return None if complete else "The arguments are incomplete."

    def complete(self, error: str | None) -> str | None:
        """Hands out what waited for the name. Returns what is wrong, or None."""
        if error and not self._streamed:
            return error
        if not self._name:
            return "The tool call has no name."
        if not self._streamed:
            arguments = self._arguments if self._arguments is not None else "{}"
            if invalid := json_object_error(arguments):
                return invalid
            self._sink.begin_call(self._name, self._id)
            self._sink.arguments(arguments)
        self._sink.end_call()
        return None
