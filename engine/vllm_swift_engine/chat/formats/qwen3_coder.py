"""Qwen3-Coder and Qwen3.5: calls in XML, whose arguments are text typed by the tool's schema."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from vllm_swift_engine.chat.json_text import read_value
from vllm_swift_engine.chat.lark import Lark, either, quote
from vllm_swift_engine.chat.probe import KEY, NAME, TemplateProbe
from vllm_swift_engine.chat.reader import Markers, Reader, Steps
from vllm_swift_engine.chat.schema_rules import SchemaRules
from vllm_swift_engine.chat.sink import Sink
from vllm_swift_engine.chat.typed_text import parameter_types, to_json
from vllm_swift_engine.errors import UnsupportedSchemaError

from .base import Function, Tools
from .tagged import TaggedFormat

_CALL = re.compile(rf"<tool_call>\s*<function={NAME}>\s*<parameter={KEY}>")
_TAG_NAME = re.compile(r"[^<>\n]+")
_VALUE_END = "</parameter>"
_VALUE_ENDS = Markers([_VALUE_END])


class Qwen3CoderFormat(TaggedFormat):
    """``<tool_call><function=name><parameter=key>value</parameter></function></tool_call>``."""

    name = "qwen3_coder"
    markers = ("<tool_call>", "</tool_call>", "<function=")
    # Some models leave the outer marker out.
    begins = ("<tool_call>", "<function=")
    end = "</tool_call>"
    layout = ("\n", "\n", "\n")

    @classmethod
    def matches(cls, probe: TemplateProbe) -> bool:
        """Calls are tags with the function's name."""
        return _CALL.search(probe.call_text) is not None

    def write_call(self, function: Mapping[str, Any]) -> str:
        """One block."""
        parameters = "".join(
            f"<parameter={key}>\n{_text(value)}\n{_VALUE_END}\n"
            for key, value in function["arguments"].items()
        )
        return f"<tool_call>\n<function={function['name']}>\n{parameters}</function>\n</tool_call>"

    # ------------------------------------------------------------------ grammar

    def call_rule(self, lark: Lark, function: Function) -> str:
        """Parameters in the schema's order, the optional ones there or not."""
        rules = SchemaRules(lark, function.schema, function.strict)
        bodies = [_parameters(rules, schema) for schema in rules.alternatives(rules.root)]
        head = lark.text(f"<function={function.name}>\n")
        return lark.rule(f"{head} {either(bodies)} {lark.text('</function>')}")

    # ------------------------------------------------------------------ answers

    def read_block(self, reader: Reader, sink: Sink, tools: Tools, begin: str) -> Steps[str | None]:
        """Functions one after another."""
        if begin != "<function=":
            yield from reader.space()
            if (yield from reader.literal("<function=")) is None:
                return "A call must begin with <function=."
        while True:
            error = yield from _read_function(reader, sink, tools)
            if error:
                return error
            reader.record()
            yield from reader.space()
            if (yield from reader.literal("<function=")) is None:
                return None


def _parameters(rules: SchemaRules, schema: Any) -> str:
    lark = rules.lark
    end = lark.text("\n")
    parts = []
    for key, value in rules.properties(schema).items():
        if not _TAG_NAME.fullmatch(key):
            raise UnsupportedSchemaError("properties", "", f"{key!r} cannot be in an XML tag.")
        head = lark.text(f"<parameter={key}>\n")
        part = lark.rule(f"{head} {_value(rules, value)} {end}")
        parts.append(part if key in schema.get("required", ()) else f"({part})?")
    free = rules.free_properties(schema)
    if free is not None:
        value, least, most = free
        head = f"{lark.text('<parameter=')} /[^<>\\n]+/ {quote('>' + chr(10))}"
        part = lark.rule(f"{head} {_value(rules, value)} {end}")
        parts.append(f"({part}){{{least},{'' if most is None else most}}}")
    return " ".join(parts) or quote("")


def _value(rules: SchemaRules, schema: Any) -> str:
    lark, options = rules.lark, []
    for one in rules.alternatives(schema):
        if one is True or one == {"type": "string"}:
            return lark.until(_VALUE_END)
        if "const" in one or "enum" in one:
            values = one.get("enum", [one.get("const")])
            options += [lark.text(f"{_text(value)}\n{_VALUE_END}") for value in values]
        elif one["type"] == "string":
            options.append(rules.text(one, f"\n{_VALUE_END}"))
        else:
            options.append(f"{rules.json(one)} {lark.text(chr(10) + _VALUE_END)}")
    return either(options)


def _read_function(reader: Reader, sink: Sink, tools: Tools) -> Steps[str | None]:
    name = (yield from reader.skip(_TAG_NAME)).strip()
    if (yield from reader.literal(">")) is None or not name:
        return "The tool call has no name."
    sink.begin_call(name)
    sink.arguments("{")
    separator = ""
    while True:
        yield from reader.space()
        if (yield from reader.literal("</function>")) is not None:
            break
        if (yield from reader.literal("<parameter=")) is None:
            return "The call's parameters are not in <parameter= tags."
        key = (yield from reader.skip(_TAG_NAME)).strip()
        if (yield from reader.literal(">")) is None:
            return "A parameter has no name."
        sink.arguments(f"{separator}{json.dumps(key, ensure_ascii=False)}: ")
        separator = ", "
        if not (yield from _read_value(reader, sink, parameter_types(tools.get(name, {}), key))):
            return f"The parameter {key!r} has no end."
    sink.arguments("}")
    sink.end_call()
    return None


def _read_value(reader: Reader, sink: Sink, types: frozenset[str]) -> Steps[bool]:
    """Reads a value with its end; a string is passed on as it comes. False without an end."""
    yield from reader.literal("\n")
    if types != {"string"}:
        parts: list[str] = []
        if "string" not in types and (yield from reader.peek()) in ("{", "["):
            # The end may be in one of its strings.
            yield from read_value(reader, parts.append)
        ended = yield from reader.until(_VALUE_ENDS, parts.append)
        sink.arguments(to_json("".join(parts).removesuffix("\n"), types))
        return ended is not None
    text = _StringPieces(sink)
    sink.arguments('"')
    ended = yield from reader.until(_VALUE_ENDS, text.write)
    if ended is not None:
        sink.arguments('"')
    return ended is not None


class _StringPieces:
    """Passes text on inside a JSON string, without the line end that may be the last."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._held = ""

    def write(self, piece: str) -> None:
        piece = self._held + piece
        shown = piece.removesuffix("\n")
        self._held = piece[len(shown) :]
        if shown:
            self._sink.arguments(json.dumps(shown, ensure_ascii=False)[1:-1])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
