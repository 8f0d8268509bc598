from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.unit.grammar.sampling import accepts, matcher, sample
from vllm_swift_engine.errors import InvalidGrammarError, UnsupportedSchemaError
from vllm_swift_engine.grammar import GrammarSource, StructuredOutputsParams, grammar_source

GBNF = r"""
# the syntax of llama.cpp and vLLM
root ::= answer (", " answer)*
answer ::= "yes" | "no" | [a-c]+
"""
LARK = r"""
start: answer (", " answer)*
answer: "yes" | "no" | /[a-c]+/
"""


def made(**fields: Any) -> GrammarSource:
    return grammar_source(StructuredOutputsParams(**fields))


@pytest.mark.parametrize("grammar", [GBNF, LARK])
def test_lark_and_ebnf(grammar: str) -> None:
    source = made(grammar=grammar)
    assert source.kind == "lark"
    assert accepts(source, "yes, abc, no")
    assert not accepts(source, "yes,no")


@pytest.mark.parametrize("grammar", [" ", "root ::= (", "root ::= ["])
def test_what_is_no_grammar_is_refused(grammar: str) -> None:
    with pytest.raises(InvalidGrammarError, match="grammar"):
        made(grammar=grammar)


def test_choices_are_taken_to_the_letter() -> None:
    choices = ["a", "a.*b", "", 'say "é"\n', "😀|x", "a b", "[x]/"]
    source = made(choice=choices)
    for choice in choices:
        assert accepts(source, choice)
    for other in ("b", "axb", "a ", "x"):
        assert not accepts(source, other)
    assert {sample(source, seed) for seed in range(40)} <= {*choices}


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        (r"\d{3}-\w+", "123-ab", "x123-ab"),
        (r"^yes|no$", "no", "maybe"),
        (r"(?!ab)[a-z]+", "ba", "abc"),
        (r"a.c", "aéc", "a\nc"),
        (r"[^/]*/", "é/", "//"),
        ("😀+", "😀😀", ""),
        (r"\p{Lu}\w*", "Éa", "éa"),
    ],
)
def test_a_regex_holds_the_whole_output(pattern: str, good: str, bad: str) -> None:
    source = made(regex=pattern)
    assert accepts(source, good)
    assert not accepts(source, bad)
    for seed in range(10):
        output = sample(source, seed)
        assert output is None or "\\p" in pattern or re.fullmatch(pattern, output)


@pytest.mark.parametrize("pattern", ["(", "a{2,1}", r"(a)\1", "[^\\s\\S]", "a$b", "(?<=x)a"])
def test_a_regex_that_is_none_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidGrammarError, match="regex"):
        made(regex=pattern)


def test_any_object() -> None:
    source = made(json_object=True)
    for text in ('{"a": [1, {"b": null}]}', "{}", '{"a":1,"a":2}'):
        assert accepts(source, text)
    for text in ("[]", "1", " {}", '{"a":}'):
        assert not accepts(source, text)


OBJECT = {
    "type": "object",
    "properties": {"a": {"type": "array", "items": {"type": "integer"}}},
    "required": ["a"],
    "additionalProperties": False,
}
VALUE = {"a": [1, 2]}


@pytest.mark.parametrize("indent", [None, 1, 2, 4, 8])
def test_whitespace_is_free_within_bounds(indent: int | None) -> None:
    source = made(json=OBJECT)
    assert accepts(source, json.dumps(VALUE, indent=indent))
    assert accepts(source, json.dumps(VALUE, separators=(",", ":")))
    assert accepts(source, json.dumps(VALUE, indent=indent).replace("\n", "\r\n"))


@pytest.mark.parametrize("space", ["\n\n", "\n" + " " * 33, "  \n", "\t\t"])
def test_whitespace_ends(space: str) -> None:
    assert not accepts(made(json=OBJECT), '{"a":' + space + "[1]}")


def test_no_whitespace() -> None:
    source = made(json=OBJECT, disable_any_whitespace=True)
    assert accepts(source, '{"a":[1,2]}')
    assert not accepts(source, '{"a": [1,2]}')


@pytest.mark.parametrize("pattern", ["[ ]?", "[\n\t ]*", r"\s{0,2}", " |\n"])
def test_a_whitespace_pattern_of_ones_own(pattern: str) -> None:
    source = made(json=OBJECT, whitespace_pattern=pattern)
    assert accepts(source, '{"a": [1,2]}')
    assert accepts(source, '{"a":[1,2]}')
    assert not accepts(source, '{"a":\r[1,2]}') or "s" in pattern


@pytest.mark.parametrize("pattern", ["x", "[^a]", ".", "\\u00a0", "(", "\v?"])
def test_whitespace_that_json_has_not_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidGrammarError, match="whitespace_pattern"):
        made(json=OBJECT, whitespace_pattern=pattern)


def test_a_schema_stands_inside_of_lark() -> None:
    schema = made(json=OBJECT, disable_any_whitespace=True).text
    source = GrammarSource("lark", f'start: "<tool>" body "</tool>"\nbody: %json {schema}\n')
    assert accepts(source, '<tool>{"a":[1]}</tool>')
    assert not accepts(source, '<tool>{"a": [1]}</tool>')


def test_an_escaped_key_is_no_second_key() -> None:
    source = made(
        json={"properties": {"a": {"type": "integer"}}, "additionalProperties": {"type": "string"}}
    )
    assert not accepts(source, '{"\\u0061":"x"}')
    assert accepts(source, '{"b":"x"}')


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


HOSTILE: dict[str, Any] = {
    "deep": deep(5000),
    "deep text": "[" * 100_000,
    "huge": {"enum": [*range(200_000)]},
    "a long text": '{"title": "' + "a" * 5_000_000 + '"}',
    "exponential regex": {"pattern": "^(((a|b)*c){1,100}){1,100}){1,100}$"},
    "exponential lookaheads": {
        "type": "string", "pattern": "^" + "".join(f"(?=.*{c}.{{50}})" for c in "abcdefgh"),
    },
    "exponential anyOf": {
        "allOf": [
            {"anyOf": [{"properties": {f"p{i}{j}": {"const": j}}} for j in range(8)]}
            for i in range(12)
        ]
    },
    "exponential references": {
        "$ref": "#/$defs/d0",
        "$defs": {
            f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}, {"$ref": f"#/$defs/d{i + 1}"}]}
            for i in range(40)
        }
        | {"d40": {"type": "null"}},
    },
    "exponential oneOf": {
        "oneOf": [{"properties": {f"p{i}": {"type": "null"}}} for i in range(90)]
    },
    "exponential arrays": {"items": {"enum": [*range(30)]}, "uniqueItems": True},
    "long names": {
        "patternProperties": {"(a|b){1,60}c": True}, "propertyNames": {"pattern": ".{0,90}d.{90}"},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_schema_gives_an_error(name: str) -> None:
    with pytest.raises((InvalidGrammarError, UnsupportedSchemaError)):
        made(json=HOSTILE[name])


def test_a_value_that_holds_itself_is_refused() -> None:
    schema: dict[str, Any] = {"type": "object"}
    schema["properties"] = {"a": schema}
    with pytest.raises(InvalidGrammarError, match="deep"):
        made(json=schema)


@pytest.mark.parametrize("value", [object(), {1: 2}, {"a": {1, 2}}, {"const": float("nan")}, b"a"])
def test_what_json_has_not_is_refused(value: Any) -> None:
    with pytest.raises(InvalidGrammarError, match="json"):
        made(json={"default": value} if not isinstance(value, dict) else value)


def test_large_but_reasonable_schemas_compile() -> None:
    names = [f"field_{index}" for index in range(300)]
    wide = {
        "type": "object",
        "properties": {name: {"type": ["string", "null"], "maxLength": 50} for name in names},
        "required": names,
        "additionalProperties": False,
    }
    assert matcher(made(json=wide))
    assert matcher(made(json=deep(60)))
    assert matcher(made(json={"enum": [f"value {index}" for index in range(2000)]}))
    assert matcher(made(json={"type": "array", "minItems": 5, "maxItems": 100_000}))
    assert matcher(made(json={"type": "string", "minLength": 1, "maxLength": 100_000}))
