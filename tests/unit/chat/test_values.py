"""Text to JSON by a schema's types, and answers that are deeper than they should be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.chat.answers import all_formats, deltas, template_format
from vllm_swift_engine.chat.typed_text import parameter_types, to_json

SCHEMA: dict[str, Any] = {
    "$defs": {"Deep": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
    "properties": {
        "plain": {"type": "string"},
        "several": {"type": ["string", "null"]},
        "any": {},
        "options": {"enum": ["a", 1, None]},
        "reference": {"$ref": "#/$defs/Deep"},
        "all": {"allOf": [{"type": "array"}, {"minItems": 1}]},
        "open": {"anyOf": [{"type": "integer"}, {}]},
        "itself": {"$ref": "#/properties/itself"},
        "nowhere": {"$ref": "#/$defs/Nothing"},
    },
}


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("plain", {"string"}),
        ("several", {"string", "null"}),
        ("any", set()),
        ("options", {"string", "integer", "null"}),
        ("reference", {"integer", "null"}),
        ("all", {"array"}),
        ("open", set()),
        ("itself", set()),
        ("nowhere", set()),
        ("other", set()),
    ],
)
def test_types_of_a_parameter(name: str, types: set[str]) -> None:
    assert parameter_types(SCHEMA, name) == types


@pytest.mark.parametrize(
    ("text", "types", "value"),
    [
        ("12", {"integer"}, 12),
        ("12.0", {"integer"}, 12),
        ("12.5", {"integer"}, "12.5"),
        ("12", {"number"}, 12),
        ("1.5e3", {"number"}, 1500.0),
        ("12", {"string"}, "12"),
        ("12", {"string", "integer"}, "12"),
        ("null", {"string", "null"}, None),
        ("null", {"string"}, "null"),
        ("None", {"integer", "null"}, None),
        ("True", {"boolean"}, True),
        (" false ", {"boolean"}, False),
        ("yes", {"boolean"}, "yes"),
        ('{"a": [1]}', {"object"}, {"a": [1]}),
        ("{'a': True, 'b': None}", {"object"}, {"a": True, "b": None}),
        ("('a', 'b')", {"array"}, ["a", "b"]),
        (r"['\\d']", {"array"}, r"['\\d']"),
        ("[1]", {"object"}, "[1]"),
        ("[1]", set(), [1]),
        ("1", set(), "1"),
        ("NaN", {"number"}, "NaN"),
        ("{1: 2", {"object"}, "{1: 2"),
        ("[" * 100_000, {"array"}, "[" * 100_000),
        ("9" * 5000, {"integer"}, "9" * 5000),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_text_becomes_json(text: str, types: set[str], value: Any) -> None:
    assert json.loads(to_json(text, frozenset(types))) == value


DEEP = [
    "<tool_call>" + '{"function":' * 5_000,
    "<tool_call>" + '{"name":"a","arguments":' + '{"a":' * 5_000 + "1" + "}" * 5_001,
    '{"name":"now","arguments":' + "[" * 5_000,
    "<start_function_call>call:a" + "{a:" * 5_000,
    "<|tool_call>call:a{a:" + "[" * 5_000,
    "<tool_call><function=store><parameter=items>" + "[" * 5_000 + "</parameter></function>",
    "<|tool_call|>" + "[" * 5_000,
]


@pytest.mark.parametrize("name", all_formats())
def test_nothing_is_too_deep_to_be_read(name: str) -> None:
    for answer in DEEP:
        found = deltas(template_format(name), [answer[:30], answer[30:]])
        assert any(delta.text or delta.tool_calls or delta.invalid_tool_calls for delta in found), (
            answer[:40]
        )
