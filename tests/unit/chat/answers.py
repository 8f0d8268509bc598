"""What the tests of all formats share: tools, templates, whole answers, and ways to cut them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from vllm_swift_engine.chat.deltas import ChatDelta, ChatMessage
from vllm_swift_engine.chat.formats.base import ChatFormat, Reasoning
from vllm_swift_engine.chat.parser import StreamParser
from vllm_swift_engine.chat.probe import TemplateProbe
from vllm_swift_engine.chat.registry import by_name, format_names
from vllm_swift_engine.chat.request import joined
from vllm_swift_engine.chat.sink import Sink
from vllm_swift_engine.models.template import ChatTemplate

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tool(name: str, required: Sequence[str] | None = None, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties}
    schema["required"] = list(properties if required is None else required)
    schema["additionalProperties"] = False
    function = {"name": name, "description": f"Does {name}.", "parameters": schema}
    return {"type": "function", "function": function}


TOOLS = [
    tool("get_weather", ["city"], city={"type": "string"}, days={"type": "integer"}),
    tool("add", a={"type": "number"}, b={"type": "number"}),
    tool("now"),
    tool(
        "store",
        ["items"],
        items={"type": "array", "items": {"type": "object"}},
        deep={"type": "boolean"},
        note={"type": ["string", "null"]},
    ),
]
NAMES = {one["function"]["name"]: one["function"]["parameters"] for one in TOOLS}

#: Calls that every format can write: name and arguments.
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("get_weather", {"city": "Zürich", "days": 3}),
    ("get_weather", {"city": 'quotes " \\ and\nlines, {braces} [brackets] : , é 😀'}),
    ("get_weather", {"city": ""}),
    ("add", {"a": 1, "b": -2.5e3}),
    ("now", {}),
    ("store", {"items": [{"a": [1, None, True]}, {"b": {"c": "x"}}], "deep": False, "note": None}),
]


#: Formats that have two ways, by what tells them apart in a template.
VARIANTS = {"mistral named": "[ARGS]", "mistral numbered": "[ARGS] [CALL_ID]"}


def all_formats() -> list[str]:
    return [*format_names(), *VARIANTS]


def template_format(name: str, reasoning: Reasoning | None = None) -> ChatFormat:
    template = CHATML + f"{{# {VARIANTS.get(name, '')} #}}"
    probe = TemplateProbe(ChatTemplate({"default": template}, {}))
    return by_name(name.split()[0])(probe, reasoning)


@dataclass(frozen=True)
class Case:
    """An answer as a model writes it, and what it says."""

    answer: str
    text: str = ""
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    reasoning: str = ""
    #: The prompt has begun the reasoning.
    thinking: bool = False
    names: dict[str, Any] = field(default_factory=lambda: NAMES)


def numbered() -> Callable[[], str]:
    count = itertools.count()
    return lambda: f"id{next(count)}"


def deltas(
    chat_format: ChatFormat,
    pieces: Sequence[str],
    names: dict[str, Any] = NAMES,
    thinking: bool = False,
) -> list[ChatDelta]:
    parser = StreamParser(chat_format.routine(names, thinking), Sink(numbered()))
    return [*(parser.push(piece, 1) for piece in pieces), parser.flush()]


def read(chat_format: ChatFormat, pieces: Sequence[str], case: Case) -> ChatMessage:
    return joined(deltas(chat_format, pieces, case.names, case.thinking))


def said(message: ChatMessage) -> tuple[str, tuple[tuple[str, Any], ...], str]:
    calls = tuple((call.name, json.loads(call.arguments)) for call in message.tool_calls)
    return message.text, calls, message.reasoning


def cuts(text: str) -> Iterator[list[str]]:
    """Whole, in single characters, and cut once and twice wherever that may matter."""
    yield [text]
    yield list(text)
    for at in range(1, len(text)):
        yield [text[:at], text[at:]]
    for size in (2, 3, 5, 7):
        yield [text[at : at + size] for at in range(0, len(text), size)]
