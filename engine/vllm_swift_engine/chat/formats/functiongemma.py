"""FunctionGemma: ``call:name{key:value}`` with strings between ``<escape>`` marks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from vllm_swift_engine.chat.json_text import Emit
from vllm_swift_engine.chat.lark import Lark, either
from vllm_swift_engine.chat.probe import NAME, TemplateProbe
from vllm_swift_engine.chat.reader import Markers, Reader, Steps
from vllm_swift_engine.chat.schema_rules import Schema, SchemaRules
from vllm_swift_engine.chat.sink import Sink, no_constant

from .base import Function, Tools
from .tagged import TaggedFormat

_NAME = re.compile(r"[^\s{}\[\]:,<>]+")
#: What the grammar makes of names that no schema gives.
_FREE_NAME = r"[\p{L}\p{N}_.$-]{1,64}"
_SCALAR = re.compile(r"[^{}\[\],<>]+")
#: Values inside each other.
_MAX_DEPTH = 64


class FunctionGemmaFormat(TaggedFormat):
    """``<start_function_call>call:name{key:<escape>text<escape>,n:3}<end_function_call>``."""

    name = "functiongemma"
    begins: ClassVar[tuple[str, ...]] = ("<start_function_call>",)
    end = "<end_function_call>"
    #: What stands on both sides of a string.
    mark: ClassVar[str] = "<escape>"
    markers: ClassVar[tuple[str, ...]] = (*begins, end, mark)

    @classmethod
    def matches(cls, probe: TemplateProbe) -> bool:
        """Calls are shown like that."""
        return f"{cls.begins[0]}call:{NAME}{{" in probe.call_text

    def write_calls(self, calls: Sequence[dict[str, Any]]) -> str:
        """One block a call, nothing between."""
        return "".join(self.write_call(call["function"]) for call in calls)

    def write_call(self, function: Mapping[str, Any]) -> str:
        """One block."""
        call = f"call:{function['name']}{self.written(function['arguments'])}"
        return f"{self.begins[0]}{call}{self.end}"

    def written(self, value: Any) -> str:
        """A value as the models write it."""
        if isinstance(value, str):
            return f"{self.mark}{value}{self.mark}"
        if isinstance(value, Mapping):
            members = (f"{self.key(key)}:{self.written(one)}" for key, one in value.items())
            return f"{{{','.join(members)}}}"
        if isinstance(value, (list, tuple)):
            return f"[{','.join(map(self.written, value))}]"
        return json.dumps(value)

    def key(self, key: str) -> str:
        """A name in an object, between marks where it would not be read without."""
        return key if _NAME.fullmatch(key) else self.written(key)

    # ------------------------------------------------------------------ grammar

    def call_rule(self, lark: Lark, function: Function) -> str:
        """The name and an object of the arguments."""
        rules = _Values(lark, function, self)
        head = lark.text(f"call:{function.name}")
        return lark.rule(f"{head} {rules.value(rules.root)}")

    # ------------------------------------------------------------------ answers

    def read_block(self, reader: Reader, sink: Sink, tools: Tools, begin: str) -> Steps[str | None]:
        """One call."""
        yield from reader.space()
        if (yield from reader.literal("call:")) is None:
            return "A call must begin with call: and a name."
        name = yield from reader.skip(_NAME)
        if not name or (yield from reader.literal("{")) is None:
            return "A call must be a name and arguments in braces."
        sink.begin_call(name)
        values = _Reading(reader, sink.arguments, self.mark)
        if not (yield from values.members(0)):
            return "The arguments are malformed."
        error = sink.argument_error()
        if error is None:
            sink.end_call()
        return error


class _Reading:
    """Values, made JSON as they come. Each method's result says whether it was well formed."""

    def __init__(self, reader: Reader, emit: Emit, mark: str) -> None:
        self._reader = reader
        self._emit = emit
        self._mark = mark
        self._marks = Markers([mark])

    def value(self, depth: int) -> Steps[bool]:
        """Any value."""
        reader = self._reader
        yield from reader.space()
        found = yield from reader.literal("{", "[", self._mark)
        if depth > _MAX_DEPTH:
            return False
        if found == "{":
            return (yield from self.members(depth))
        if found == "[":
            return (yield from self._separated("[", "]", lambda: self.value(depth + 1)))
        if found is not None:
            return (yield from self._string())
        word = (yield from reader.skip(_SCALAR)).strip()
        self._emit(_scalar(word))
        return word != ""

    def members(self, depth: int) -> Steps[bool]:
        """An object's members and its end."""

        def member() -> Steps[bool]:
            return (yield from self._key()) and (yield from self.value(depth + 1))

        return (yield from self._separated("{", "}", member))

    def _separated(self, begin: str, end: str, one: Callable[[], Steps[bool]]) -> Steps[bool]:
        """What commas part, and its end."""
        reader, first = self._reader, True
        self._emit(begin)
        while True:
            yield from reader.space()
            if (yield from reader.literal(end)) is not None:
                self._emit(end)
                return True
            if not first:
                if (yield from reader.literal(",")) is None:
                    return False
                self._emit(", ")
            first = False
            if not (yield from one()):
                return False

    def _key(self) -> Steps[bool]:
        reader = self._reader
        yield from reader.space()
        if (yield from reader.literal(self._mark)) is not None:
            if not (yield from self._string()):
                return False
        else:
            key = yield from reader.skip(_NAME)
            if not key:
                return False
            self._emit(json.dumps(key, ensure_ascii=False))
        yield from reader.space()
        self._emit(": ")
        return (yield from reader.literal(":")) is not None

    def _string(self) -> Steps[bool]:
        self._emit('"')
        ended = yield from self._reader.until(self._marks, self._piece)
        if ended is not None:
            self._emit('"')
        return ended is not None

    def _piece(self, piece: str) -> None:
        self._emit(json.dumps(piece, ensure_ascii=False)[1:-1])


def _scalar(word: str) -> str:
    """The JSON of a number or a word; what is neither is a string without its marks."""
    known = {"True": "true", "False": "false", "None": "null"}.get(word, word)
    try:
        json.loads(known, parse_constant=no_constant)
    except ValueError:
        return json.dumps(word, ensure_ascii=False)
    return known


class _Values(SchemaRules):
    """Rules for values, each schema's once, so that recursive ones end."""

    def __init__(self, lark: Lark, function: Function, chat_format: FunctionGemmaFormat) -> None:
        super().__init__(lark, function.schema, function.strict)
        self._format = chat_format
        self._names: dict[str, str] = {}

    def value(self, schema: Schema) -> str:
        """The rule for a value."""
        key = json.dumps(schema, sort_keys=True)
        if key not in self._names:
            name = self._names[key] = self.lark.reserve()
            options = [self._one(alternative) for alternative in self.alternatives(schema)]
            self.lark.define(name, either(options))
        return self._names[key]

    def _one(self, schema: Schema) -> str:
        lark = self.lark
        if schema is True:
            kinds: list[Schema] = [{"type": kind} for kind in ("string", "object", "array")]
            scalars: list[Schema] = [{"type": kind} for kind in ("number", "boolean", "null")]
            return either([self.value(kind) for kind in (*kinds, *scalars)])
        if "const" in schema or "enum" in schema:
            values = schema.get("enum", [schema.get("const")])
            return either([lark.text(self._format.written(value)) for value in values])
        match schema["type"]:
            case "string":
                return f"{lark.text(self._format.mark)} {self.text(schema, self._format.mark)}"
            case "object":
                return self._object(schema)
            case "array":
                return self._array(schema)
            case _:
                return self.json(schema)

    def _array(self, schema: dict[str, Any]) -> str:
        prefix = [self.value(one) for one in schema.get("prefixItems", ())]
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        rest = schema.get("items", True)
        comma = self.lark.text(",")
        # From the last item to the first: what may follow when so many are there.
        body = ""
        if rest is not False:
            low = max(0, least - max(1, len(prefix)))
            high = "" if most is None else max(0, most - max(1, len(prefix)))
            body = f"({comma} {self.value(rest)}){{{low},{high}}}"
        items = prefix or ([self.value(rest)] if rest is not False and most != 0 else [])
        for index in range(len(items) - 1, -1, -1):
            body = f"{comma if index else ''} {items[index]} {body}"
            if index >= least:
                body = f"({body})?"
        return f"{self.lark.text('[')} {body} {self.lark.text(']')}"

    def _object(self, schema: dict[str, Any]) -> str:
        required = schema.get("required", ())
        members = [
            (
                f"{self.lark.text(self._format.key(name) + ':')} {self.value(value)}",
                name in required,
            )
            for name, value in self.properties(schema).items()
        ]
        free = self.free_properties(schema)
        open_, close = self.lark.text("{"), self.lark.text("}")
        if free is not None:
            value, least, most = free
            colon = self.lark.text(":")
            member = self.lark.rule(f"/{_FREE_NAME}/ {colon} {self.value(value)}")
            high = "" if most is None else most - 1
            body = f"{member} ({self.lark.text(',')} {member}){{{max(0, least - 1)},{high}}}"
            if most == 0:
                body = ""
            return f"{open_} {body if least else f'({body})?' if body else ''} {close}"
        return f"{open_} {self._members(members)} {close}"

    def _members(self, members: list[tuple[str, bool]]) -> str:
        """Members in order, with commas between those that are there."""
        comma, after, head = self.lark.text(","), "", ""
        for member, required in reversed(members):
            here = f"{member} {after}"
            head = here if required else f"({here})?" if not head else f"({here} | {head})"
            head = self.lark.rule(head)
            after = f"{comma} {here}" if required else f"({comma} {member})? {after}"
            after = self.lark.rule(after)
        return head
