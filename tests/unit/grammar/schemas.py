"""Schemas for property tests: every keyword of draft 2020-12, alone and on top of each other."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Schema = Any

NAMES = ["a", "b", "ab", "é", 'q"', "1", ""]
names = st.sampled_from(NAMES)
scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-12, 12),
    st.sampled_from([0.5, 1.0, -2.25, 1e-7, 2**53, -0.0, 1.1]),
    st.sampled_from(["", "a", "b", "ab", "é", "😀", 'q"\\', "x\ny", "2024-02-29"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(names, inner, max_size=2)),
    max_leaves=4,
)
types = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
bounds = st.one_of(
    st.integers(-20, 20),
    st.sampled_from([0.1, -0.5, 2.5, 99.99, 1e-3, 10**6, -(10**9), 2**53, 2**60, 1e300, -1e-300]),
)
sizes = st.integers(0, 4)
patterns = st.sampled_from(
    [
        "^a", "b$", "^[a-c]+$", "a|b", r"^\d+$", r"\w", r"^\s*$", "^.{2,3}$", "", "^$", r"[^\d]",
        r"^(?!ab).*$", r"^\S+@\S+$", r"^\W", "^(a|^b)$", r"\.", "é+", "^[^a-z]*$", "^(ab)*$",
        r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$", r"^\D{1,2}$", "x$y", "(?=a)b", r"(a)\1", r"\bword",
    ]
)  # fmt: skip
formats = st.sampled_from(
    [
        "date-time", "date", "time", "duration", "email", "idn-email", "hostname", "idn-hostname",
        "ipv4", "ipv6", "uri", "uri-reference", "iri", "iri-reference", "uuid", "uri-template",
        "json-pointer", "relative-json-pointer", "regex", "password", "binary",
    ]
)  # fmt: skip


@st.composite
def _numbers(draw: st.DrawFn) -> Schema:
    keywords = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]
    chosen = draw(st.lists(st.sampled_from(keywords), max_size=3, unique=True))
    steps = st.sampled_from([1, 2, 3, 7, 0.5, 0.25, 2.0, 0.01, 1.5, 1000])
    return {name: draw(steps if name == "multipleOf" else bounds) for name in chosen}


@st.composite
def _strings(draw: st.DrawFn) -> Schema:
    found: dict[str, Any] = {}
    if draw(st.booleans()):
        found["pattern"] = draw(patterns)
    if draw(st.booleans()):
        found["minLength"] = draw(sizes)
    if draw(st.booleans()):
        found["maxLength"] = draw(st.integers(0, 40))
    if draw(st.integers(0, 2)) == 0:
        found["format"] = draw(formats)
    return found


@st.composite
def _arrays(draw: st.DrawFn, inner: st.SearchStrategy[Schema]) -> Schema:
    found: dict[str, Any] = {}
    for keyword, strategy in (
        ("prefixItems", st.lists(inner, min_size=1, max_size=2)),
        ("items", inner),
        ("minItems", sizes),
        ("maxItems", sizes),
        ("uniqueItems", st.booleans()),
        ("contains", inner),
        ("minContains", st.integers(0, 2)),
        ("maxContains", st.integers(0, 2)),
        ("unevaluatedItems", inner),
    ):
        if draw(st.integers(0, 2)) == 0:
            found[keyword] = draw(strategy)
    return found


@st.composite
def _objects(draw: st.DrawFn, inner: st.SearchStrategy[Schema]) -> Schema:
    found: dict[str, Any] = {}
    keys = st.sampled_from([{"pattern": "^[ab]+$"}, {"maxLength": 1}, {"enum": ["a", "b"]}, False])
    for keyword, strategy in (
        ("properties", st.dictionaries(names, inner, max_size=3)),
        ("patternProperties", st.dictionaries(patterns, inner, max_size=2)),
        ("additionalProperties", inner),
        ("required", st.lists(names, max_size=2, unique=True)),
        ("minProperties", st.integers(0, 3)),
        ("maxProperties", st.integers(0, 3)),
        ("propertyNames", st.one_of(keys, inner)),
        ("dependentRequired", st.dictionaries(names, st.lists(names, max_size=2), max_size=2)),
        ("dependentSchemas", st.dictionaries(names, inner, max_size=1)),
        ("unevaluatedProperties", inner),
    ):
        likely = 1 if keyword == "properties" else 3
        if draw(st.integers(0, likely)) == 0:
            found[keyword] = draw(strategy)
    return found


@st.composite
def _applied(draw: st.DrawFn, inner: st.SearchStrategy[Schema]) -> Schema:
    some = st.lists(inner, min_size=1, max_size=3)
    keyword = draw(st.sampled_from(["allOf", "anyOf", "oneOf", "not", "if", "$ref"]))
    if keyword == "if":
        found = {"if": draw(inner)}
        if draw(st.booleans()):
            found["then"] = draw(inner)
        if draw(st.booleans()):
            found["else"] = draw(inner)
        return found
    if keyword == "$ref":
        return {"$ref": draw(st.sampled_from(["#/$defs/d0", "#/$defs/d1", "#there", "#"]))}
    return {keyword: draw(inner if keyword == "not" else some)}


@st.composite
def _mixed(draw: st.DrawFn, inner: st.SearchStrategy[Schema]) -> Schema:
    """A schema of one type, as people write them, or of any, with some keywords on top."""
    found: dict[str, Any] = {}
    kind = draw(st.one_of(types, st.none()))
    if kind is not None:
        found["type"] = kind if draw(st.integers(0, 3)) else [kind, draw(types)]
    made = {
        "integer": _numbers(),
        "number": _numbers(),
        "string": _strings(),
        "array": _arrays(inner),
        "object": _objects(inner),
    }
    for name in [kind] if kind in made else draw(st.lists(st.sampled_from([*made]), max_size=2)):
        found |= draw(made[name])
    extra = draw(st.integers(0, 5))
    if extra == 0:
        found |= draw(_applied(inner))
    elif extra == 1:
        found["enum"] = draw(st.lists(values, min_size=1, max_size=4))
    elif extra == 2:
        found["const"] = draw(values)
    if draw(st.integers(0, 5)) == 0:
        found |= {"title": "A", "description": "b", "default": None, "examples": [1], "x-own": {}}
    return found


inner_schemas = st.recursive(
    st.one_of(
        st.booleans(),
        types.map(lambda name: {"type": name}),
        values.map(lambda value: {"const": value}),
        _numbers(),
        _strings(),
    ),
    lambda inner: st.one_of(_mixed(inner), _applied(inner), _objects(inner)),
    max_leaves=5,
)


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    """A whole schema, with definitions to refer to."""
    found = draw(_mixed(inner_schemas))
    found["$defs"] = {"d0": draw(inner_schemas), "d1": draw(_mixed(inner_schemas))}
    if isinstance(found["$defs"]["d1"], dict):
        found["$defs"]["d1"]["$anchor"] = "there"
    return found
