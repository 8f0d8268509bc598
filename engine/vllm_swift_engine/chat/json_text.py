"""JSON values read from a text that arrives in pieces, and handed on as they come."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from .reader import Reader, Steps

_STRUCTURE = re.compile(r'["{}\[\]]')
_IN_STRING = re.compile(r'["\\\x00-\x1f]')
_SCALAR = re.compile(r'[^\s,:{}\[\]"]+')
_CLOSES = {"{": "}", "[": "]"}

Emit = Callable[[str], None]


def read_value(reader: Reader, emit: Emit) -> Steps[bool]:
    """Reads one value and passes its text on; False where what comes is none.

    Where brackets do not match, or the text ends, it stops; whether the text in between is JSON is
    the caller's to check. Control characters in strings, which models write and JSON forbids, are
    passed on escaped.
    """
    yield from reader.space()
    first = yield from reader.peek()
    if first in ("{", "["):
        complete = yield from _read_nested(reader, emit)
        return complete
    if first == '"':
        emit(reader.take(1))
        complete = yield from _read_string_rest(reader, emit)
        return complete
    scalar = yield from reader.skip(_SCALAR)
    emit(scalar)
    return scalar != ""


def read_string(reader: Reader) -> Steps[str | None]:
    """Reads a string and decodes it; None where what comes is none."""
    yield from reader.space()
    if (yield from reader.peek()) != '"':
        return None
    parts: list[str] = [reader.take(1)]
    if not (yield from _read_string_rest(reader, parts.append)):
        return None
    try:
        return str(json.loads("".join(parts)))
    except ValueError:
        return None


def _read_nested(reader: Reader, emit: Emit) -> Steps[bool]:
    closes: list[str] = []
    while (yield from reader.more()):
        found = _STRUCTURE.search(reader.available())
        if found is None:
            emit(reader.take(len(reader.available())))
            continue
        character = found[0]
        if character in _CLOSES:
            closes.append(_CLOSES[character])
        elif character != '"' and character != closes.pop():
            emit(reader.take(found.start()))
            return False
        emit(reader.take(found.end()))
        if character == '"' and not (yield from _read_string_rest(reader, emit)):
            return False
        if not closes:
            return True
    return False


def _read_string_rest(reader: Reader, emit: Emit) -> Steps[bool]:
    while (yield from reader.more()):
        found = _IN_STRING.search(reader.available())
        if found is None:
            emit(reader.take(len(reader.available())))
            continue
        if found.start():
            emit(reader.take(found.start()))
        character = reader.take(1)
        if character == '"':
            emit(character)
            return True
        if character != "\\":
            emit(json.dumps(character)[1:-1])
        elif (yield from reader.more()):
            # The pair at once, so that no piece ends between.
            emit(character + reader.take(1))
        else:
            emit(character)
    return False
