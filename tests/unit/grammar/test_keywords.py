"""Each keyword of draft 2020-12: the grammar takes what the validator takes, or refuses by name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.unit.grammar.sampling import accepts, matcher
from vllm_swift_engine.errors import (
    InvalidGrammarError,
    UnenforcedSchemaWarning,
    UnsupportedSchemaError,
)
from vllm_swift_engine.grammar import GrammarSource, StructuredOutputsParams, grammar_source

KINDS: list[Any] = [None, True, False, 0, 1, -1, 1.5, "", "a", [], [1], {}, {"a": 1}]
TREE = {"$ref": "#/$defs/tree"}
TREES = {"tree": {"type": "object", "properties": {"next": TREE}, "additionalProperties": False}}

#: By keyword: schemas, and values to try besides those of ``KINDS``.
CASES: dict[str, list[tuple[Any, list[Any]]]] = {
    "true and false": [(True, []), ({}, []), ({"properties": {"a": False}}, [])],
    "type": [
        *(({"type": name}, []) for name in ("null", "boolean", "number", "string", "array")),
        ({"type": "integer"}, [10**12, -7]),
        ({"type": ["string", "null"]}, []),
    ],
    "enum": [
        ({"enum": ["a", 1, None, True, [1], {"a": 1}, 0.5]}, [0.5, 2, [2], {"a": 2}]),
        ({"enum": ["é", 'q"\\', "😀", "x\ny"], "maxLength": 2}, ["é", 'q"\\', "😀", "x\ny"]),
        ({"enum": [1, 2, 3, "x"], "minimum": 2}, [2, 3, "x"]),
    ],
    "const": [
        *(({"const": value}, []) for value in KINDS),
        ({"const": {"b": [1, {"c": None}]}}, [{"b": [1, {"c": None}]}, {"b": [1, {}]}]),
        ({"const": 1.0}, []),
        ({"const": -2.25}, [-2.25, 2.25]),
    ],
    "minimum": [({"minimum": 3}, [2, 3, 4, 2.9]), ({"minimum": -0.5}, [-0.5, -0.6, -0.4])],
    "maximum": [({"type": "integer", "maximum": 2.5}, [2, 3]), ({"maximum": -3}, [-3, -4, -2])],
    "exclusiveMinimum": [
        ({"type": "integer", "exclusiveMinimum": 3}, [3, 4]),
        ({"exclusiveMinimum": 0}, [0.1, -0.1, 1e-3]),
    ],
    "exclusiveMaximum": [({"exclusiveMaximum": 10, "minimum": 9}, [9, 9.99, 10, 10.1])],
    "multipleOf": [
        ({"type": "integer", "multipleOf": 3}, [3, -6, 4, 0]),
        ({"multipleOf": 0.25}, [0.75, 0.3, -0.25]),
        ({"allOf": [{"multipleOf": 4}, {"multipleOf": 6}]}, [12, 24, 4, 6]),
        ({"type": "integer", "multipleOf": 1.5}, [3, 6, 1, 2]),
    ],
    "minLength": [({"minLength": 2}, ["é", "éé", "😀", "😀😀"])],
    "maxLength": [({"maxLength": 1}, ["é", "éé", "😀", "\n", '"'])],
    "pattern": [
        ({"pattern": "b"}, ["abc", "ac", "b"]),
        ({"pattern": "^b"}, ["bc", "ab"]),
        ({"pattern": r"^\d{2}-\w+$"}, ["12-ab", "12-", "1-a"]),
        ({"pattern": "^(a|b)*$|x$"}, ["abab", "abc", "yx"]),
        ({"pattern": "^(?!ab)[a-z]+(?<!z)$"}, ["abc", "bca", "bz"]),
        ({"pattern": "^(?=.*[0-9])(?=.*[a-z]).{3,}$"}, ["ab1", "abc", "1a"]),
        ({"pattern": r"^[^\s\d]\S?$"}, ["é", "1", " ", "éa"]),
        ({"pattern": r"^\/\u00e9[\]\-a]+$"}, ["/é]-a", "/é"]),
        ({"allOf": [{"pattern": "a"}, {"pattern": "b"}], "maxLength": 2}, ["ab", "ba", "aab"]),
    ],
    "prefixItems": [
        ({"prefixItems": [{"type": "integer"}, {"type": "string"}]}, [[1, "a"], ["a"], [1, 2]]),
        ({"prefixItems": [{"const": 1}, False]}, [[1, 1], [2]]),
    ],
    "items": [
        ({"items": {"type": "integer"}}, [[1, 2], [1, "a"]]),
        ({"prefixItems": [{"type": "null"}], "items": False}, [[None], [None, 1]]),
    ],
    "minItems": [({"minItems": 2}, [[1, 2], [1, 2, 3]])],
    "maxItems": [({"maxItems": 1}, [[1, 2]])],
    "uniqueItems": [
        ({"items": {"enum": ["a", "b", 1]}, "uniqueItems": True}, [["a", "b"], ["a", "a"], [1]]),
        ({"items": {"type": "boolean"}, "uniqueItems": True}, [[True, False], [True, True]]),
        ({"uniqueItems": True, "maxItems": 1}, []),
        ({"uniqueItems": False}, [[1, 1]]),
    ],
    "contains": [
        ({"contains": {"const": 1}, "maxItems": 3}, [[1, 1], [2, 1], [2, 3], [2, 3, 1]]),
        (
            {"contains": {"const": 1}, "minContains": 2, "maxContains": 2, "maxItems": 3},
            [[1, 1], [1, 2, 1], [1, 1, 1], [1]],
        ),
        ({"contains": {"const": 1}, "minContains": 0}, [[2]]),
    ],
    "unevaluatedItems": [
        (
            {"allOf": [{"prefixItems": [{"const": 1}]}], "unevaluatedItems": False},
            [[1], [1, 2], [2]],
        ),
    ],
    "properties": [
        ({"properties": {"a": {"type": "string"}, "b": True}}, [{"a": "x"}, {"b": 1}, {"c": 1}]),
        ({"type": "object", "properties": {'q"': {"const": 1}}}, [{'q"': 1}, {'q"': 2}]),
    ],
    "additionalProperties": [
        (
            {"properties": {"a": {}}, "additionalProperties": {"type": "null"}},
            [{"a": 1, "x": None}, {"x": 1}],
        ),
        ({"properties": {"a": {}}, "additionalProperties": False}, [{"a": 1}, {"x": 1}]),
    ],
    "patternProperties": [
        (
            {"patternProperties": {"^n": {"type": "integer"}, "^s": {"type": "string"}}},
            [{"n1": 1}, {"n1": "x"}, {"s": "x"}, {"s": 1}, {"z": []}],
        ),
        (
            {
                "properties": {"na": {"minimum": 3}},
                "patternProperties": {"^n": {"type": "integer"}},
                "additionalProperties": False,
            },
            [{"na": 3}, {"na": 2}, {"na": "x"}, {"nb": 1}, {"nb": "x"}, {"z": 1}],
        ),
    ],
    "required": [
        ({"required": ["a", "b"]}, [{"a": 1, "b": 2}]),
        ({"properties": {"a": {}}, "required": ["z"]}, [{"z": 1}, {"a": 1, "z": 2}]),
    ],
    "minProperties": [
        ({"minProperties": 1}, [{"b": 1, "a": 2}]),
        (
            {"properties": {"a": {}, "b": {}}, "additionalProperties": False, "minProperties": 2},
            [{"a": 1, "b": 1}],
        ),
        ({"properties": {"a": {}, "b": {}}, "minProperties": 1}, [{"b": 1}, {"x": 1}]),
    ],
    "maxProperties": [
        ({"maxProperties": 1}, [{"a": 1, "b": 1}]),
        ({"properties": {"a": {}, "b": {}}, "maxProperties": 1}, [{"b": 1}, {"a": 1, "b": 1}]),
    ],
    "propertyNames": [
        ({"propertyNames": {"pattern": "^[ab]+$"}}, [{"ab": 1}, {"c": 1}]),
        ({"propertyNames": {"maxLength": 1}, "properties": {"long": {}}}, [{"long": 1}, {"l": 1}]),
        ({"propertyNames": {"enum": ["a", "b"]}}, [{"a": 1, "b": 1}, {"c": 1}]),
        ({"propertyNames": False}, []),
    ],
    "dependentRequired": [
        ({"dependentRequired": {"a": ["b"]}}, [{"b": 1}, {"b": 1, "a": 1}]),
    ],
    "dependentSchemas": [
        ({"dependentSchemas": {"a": {"properties": {"b": {"const": 1}}}}}, [{"b": 2}, {"b": 1}]),
    ],
    "unevaluatedProperties": [
        (
            {
                "allOf": [{"properties": {"a": {"type": "integer"}}}],
                "properties": {"b": {}},
                "unevaluatedProperties": False,
            },
            [{"b": 1}, {"a": 1}, {"a": "x"}, {"c": 1}],
        ),
    ],
    "allOf": [
        ({"allOf": [{"minimum": 2}, {"maximum": 3}, {"type": "integer"}]}, [1, 2, 3, 4]),
        (
            {
                "properties": {"a": {"type": "integer"}},
                "allOf": [{"properties": {"a": {"minimum": 3}}}, {"required": ["a"]}],
            },
            [{"a": 3}, {"a": 2}, {}],
        ),
    ],
    "anyOf": [({"anyOf": [{"type": "integer"}, {"minLength": 2}], "maximum": 3}, [3, 4, "aa"])],
    "oneOf": [
        (
            {
                "oneOf": [
                    {"properties": {"k": {"const": "a"}, "x": {}}, "required": ["k"]},
                    {"properties": {"k": {"const": "b"}}, "required": ["k"]},
                ],
                "type": "object",
            },
            [{"k": "a"}, {"k": "b"}, {"k": "a", "x": 1}, {"k": "c"}],
        ),
        ({"oneOf": [{"minimum": 2}, {"maximum": 5}], "type": "integer"}, [1, 2, 5, 6]),
        ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}], "type": "object"}, [{"b": 1}]),
    ],
    "not": [
        ({"not": {"type": ["string", "array"]}}, []),
        ({"not": {"const": "a"}, "type": "string"}, ["b", "aa"]),
        ({"not": {"enum": [1, None]}}, [2]),
        ({"type": "integer", "not": {"minimum": 3}}, [2, 3]),
        ({"type": "object", "not": {"required": ["a"]}}, [{"b": 1}]),
        ({"not": {"not": {"type": "null"}}}, []),
        ({"type": "string", "not": {"pattern": "^a"}}, ["ba", "ab"]),
        ({"type": "array", "not": {"contains": {"const": 1}}}, [[2], [2, 1]]),
    ],
    "if": [
        (
            {
                "type": "object",
                "properties": {"k": {"enum": ["a", "b"]}, "x": {}},
                "required": ["k"],
                "if": {"properties": {"k": {"const": "a"}}},
                "then": {"required": ["x"]},
                "else": {"properties": {"x": False}},
            },
            [{"k": "a"}, {"k": "a", "x": 1}, {"k": "b"}, {"k": "b", "x": 1}],
        ),
        ({"if": {"type": "string"}, "then": {"minLength": 2}}, ["aa"]),
        ({"if": {"const": 1}}, []),
    ],
    "$ref": [
        ({"$ref": "#/$defs/p~1q", "minimum": 3, "$defs": {"p/q": {"type": "integer"}}}, [2, 3]),
        ({"$ref": "#/$defs/tree", "$defs": TREES}, [{"next": {"next": {}}}, {"next": 1}]),
        ({"items": {"$ref": "#/prefixItems/0"}, "prefixItems": [{"type": "null"}]}, [[None, None]]),
    ],
    "$anchor and $id": [
        ({"$ref": "#there", "$defs": {"d": {"$anchor": "there", "type": "null"}}}, []),
        (
            {
                "$id": "https://example.com/root.json",
                "$ref": "other.json#/$defs/x",
                "$defs": {"o": {"$id": "other.json", "$defs": {"x": {"type": "null"}}}},
            },
            [],
        ),
    ],
    "$dynamicRef": [
        (
            {
                "$dynamicAnchor": "node",
                "type": "object",
                "properties": {"next": {"$dynamicRef": "#node"}},
                "additionalProperties": False,
            },
            [{"next": {}}, {"next": 1}],
        ),
    ],
    "annotations": [
        (
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "$comment": "c",
                "$vocabulary": {},
                "title": "T",
                "description": "d",
                "default": 3,
                "examples": [1],
                "deprecated": True,
                "readOnly": True,
                "writeOnly": False,
                "contentEncoding": "base64",
                "contentMediaType": "text/plain",
                "contentSchema": {"type": "null"},
                "discriminator": {"propertyName": "k"},
                "format": "password",
                "then": False,
                "minContains": 3,
                "type": "string",
            },
            [],
        ),
    ],
}  # fmt: skip

FORMATS: dict[str, list[str]] = {
    "date-time": ["2024-02-29T23:59:59Z", "2023-02-29T00:00:00Z", "2024-01-01T00:00:00", "x"],
    "date": ["2000-02-29", "1900-02-29", "0000-01-01", "2024-13-01"],
    "time": ["12:00:00Z", "12:00:00.5+01:30", "24:00:00Z", "12:00"],
    "duration": ["P1Y2M3DT4H5M6S", "P2W", "PT1S", "P", "1D"],
    "email": ["a.b@example.com", "a", "@"],
    "idn-email": ["é@example.com", "a"],
    "hostname": ["example.com", "-a.com", "a..b"],
    "ipv4": ["127.0.0.1", "256.1.1.1", "1.2.3"],
    "ipv6": ["::1", "1:2:3:4:5:6:7:8", "1::2::3", "g::"],
    "uri": ["https://a.example/b?c#d", "mailto:a@b.c", "a b", "/x"],
    "uri-reference": ["/x", "a/b?c", "#f", "\\\\x"],
    "iri": ["https://é.example/é", "é é"],
    "iri-reference": ["é/x", "<>"],
    "uuid": ["123e4567-e89b-12d3-a456-426614174000", "123e4567"],
    "uri-template": ["/a/{b}", "/a/{b"],
    "json-pointer": ["/a~1b/0", "a", "/a~"],
    "relative-json-pointer": ["0#", "1/a", "/a"],
}


def compiled(schema: Any, **options: Any) -> GrammarSource:
    text = json.dumps(schema)
    return grammar_source(StructuredOutputsParams(json=text, **options))


@pytest.mark.parametrize("keyword", CASES)
def test_the_grammar_takes_what_the_validator_takes(keyword: str) -> None:
    for schema, more in CASES[keyword]:
        source, validator = compiled(schema), Draft202012Validator(schema)
        for value in [*KINDS, *more]:
            text = json.dumps(value, ensure_ascii=False)
            # Some numbers have to be written with as many decimals as their bound.
            forms = (text, f"{text}0") if isinstance(value, float) else (text,)
            taken = any(accepts(source, form) for form in forms)
            assert taken == validator.is_valid(value), (schema, text)


@pytest.mark.parametrize("name", FORMATS)
def test_formats_are_asserted(name: str) -> None:
    schema = {"type": "string", "format": name}
    checker = Draft202012Validator.FORMAT_CHECKER
    assert name in checker.checkers
    source, validator = compiled(schema), Draft202012Validator(schema, format_checker=checker)
    taken = [accepts(source, json.dumps(value, ensure_ascii=False)) for value in FORMATS[name]]
    assert taken[0]
    for value, is_taken in zip(FORMATS[name], taken, strict=True):
        assert validator.is_valid(value) or not is_taken


REFUSED: list[tuple[Any, str, str]] = [
    ({"items": {"type": "string"}, "uniqueItems": True}, "uniqueItems", "/uniqueItems"),
    ({"properties": {"a/b": {"contains": {"const": 1}}}}, "contains", "/properties/a~1b/contains"),
    ({"multipleOf": 0.01}, "multipleOf", "/multipleOf"),
    ({"pattern": r"(a)\1"}, "pattern", "/pattern"),
    ({"pattern": r"\ba"}, "pattern", "/pattern"),
    ({"anyOf": [{"pattern": "(?<=a)b"}]}, "pattern", "/anyOf/0/pattern"),
    ({"pattern": "(?i)a"}, "pattern", "/pattern"),
    ({"pattern": "[]a]"}, "pattern", "/pattern"),
    ({"pattern": "^(((a{99}){99}){99}){99}$"}, "pattern", "/pattern"),
    ({"format": "regex"}, "format", "/format"),
    ({"format": "idn-hostname"}, "format", "/format"),
    ({"const": 2**60}, "const", "/const"),
    ({"enum": [1, "\x01"]}, "enum", "/enum"),
    ({"enum": [0.12345678901234567]}, "enum", "/enum"),
    ({"minimum": 1e300}, "minimum", "/minimum"),
    ({"minLength": 10**9}, "minLength", "/minLength"),
    ({"minProperties": 2}, "minProperties", "/minProperties"),
    (
        {"patternProperties": {"^a": {"type": "null"}, "b$": {"type": "null"}}},
        "patternProperties",
        "/patternProperties",
    ),
    ({"propertyNames": {"anyOf": [{"maxLength": 1}, {"pattern": "^a"}]}}, "propertyNames",
     "/propertyNames"),
    ({"$ref": "https://example.com/other.json"}, "$ref", "/$ref"),
    ({"$schema": "http://json-schema.org/draft-04/schema#"}, "$schema", "/$schema"),
    ({"not": {"items": {"type": "null"}}}, "not", "/not"),
    ({"not": {"multipleOf": 3}}, "not", "/not"),
    ({"if": {"uniqueItems": True}, "then": {"minItems": 1}}, "if", "/if"),
    ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, "oneOf", "/oneOf"),
    ({"allOf": [{"anyOf": [{"minimum": n}, {"required": [f"p{n}"]}]} for n in range(12)]}, "anyOf",
     "/allOf/0/anyOf"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "keyword", "path"), REFUSED)
def test_what_cannot_be_enforced_is_named(schema: Any, keyword: str, path: str) -> None:
    with pytest.raises(UnsupportedSchemaError) as caught:
        compiled(schema)
    assert caught.value.keyword == keyword
    assert keyword in str(caught.value)
    if keyword != "anyOf":
        assert caught.value.path == path
        assert path in str(caught.value)


@pytest.mark.parametrize(("schema", "keyword", "path"), REFUSED)
def test_outside_of_strict_mode_it_is_left_out_aloud(schema: Any, keyword: str, path: str) -> None:
    with pytest.warns(UnenforcedSchemaWarning, match=r"\$?" + keyword.lstrip("$")):
        source = compiled(schema, strict=False)
    assert matcher(source)
    with pytest.warns(UnenforcedSchemaWarning):  # again, though it is compiled once
        compiled(schema, strict=False)


def test_one_of_without_strict_mode_is_any_of() -> None:
    schema = {"oneOf": [{"type": "number"}, {"type": "integer"}]}
    with pytest.warns(UnenforcedSchemaWarning, match="oneOf"):
        source = compiled(schema, strict=False)
    assert accepts(source, "1")
    assert not accepts(source, '"a"')


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"type": "string", "const": 1},
        {"minimum": 3, "maximum": 2, "type": "number"},
        {"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2},
        {"type": "string", "minLength": 3, "maxLength": 2},
        {"type": "string", "pattern": "^a$", "minLength": 2},
        {"type": "string", "allOf": [{"pattern": "^a"}, {"pattern": "^b"}]},
        {"type": "array", "items": False, "minItems": 1},
        {"type": "object", "properties": {"a": False}, "required": ["a"]},
        {"type": "object", "additionalProperties": False, "required": ["a"]},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "object", "minProperties": 2, "maxProperties": 1},
        {"enum": []},
        {"not": {}},
        {"not": {"properties": {"a": {"type": "null"}}}, "unevaluatedProperties": False},
        {"type": "boolean", "enum": ["a"]},
    ],
)
def test_a_schema_without_instances_is_refused(schema: Any) -> None:
    with pytest.raises(InvalidGrammarError, match="no value satisfies"):
        compiled(schema)


@pytest.mark.parametrize(
    ("schema", "culprit"),
    [
        ("{", "JSON"),
        ("[]", "schema"),
        ('"a"', "schema"),
        ('{"type": "strin"}', "/type"),
        ('{"type": 5}', "/type"),
        ('{"minLength": -1}', "/minLength"),
        ('{"minLength": "1"}', "/minLength"),
        ('{"maximum": "1"}', "/maximum"),
        ('{"multipleOf": 0}', "/multipleOf"),
        ('{"required": "a"}', "/required"),
        ('{"properties": []}', "/properties"),
        ('{"properties": {"a": 3}}', "/properties/a"),
        ('{"anyOf": []}', "/anyOf"),
        ('{"enum": 3}', "/enum"),
        ('{"pattern": "("}', "/pattern"),
        ('{"pattern": "a**"}', "/pattern"),
        ('{"$ref": "#/nowhere"}', "/$ref"),
        ('{"$ref": "#nowhere"}', "/$ref"),
        ('{"$ref": "#"}', "refers to itself"),
        ('{"allOf": [{"$ref": "#/allOf/0"}]}', "refers to itself"),
        ('{"not": {"$ref": "#"}}', "refers to itself"),
        ('{"const": "\\ud800"}', "surrogate"),
        ('{"maximum": 1e999}', "inf"),
    ],
)
def test_what_is_no_schema_is_refused(schema: str, culprit: str) -> None:
    with pytest.raises((InvalidGrammarError, UnsupportedSchemaError)) as caught:
        grammar_source(StructuredOutputsParams(json=schema))
    assert culprit in str(caught.value)
