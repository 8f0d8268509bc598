"""Random schemas, and outputs that nothing but their grammar holds.

``GRAMMAR_EXAMPLES=20000 pytest tests/unit/grammar/test_properties.py`` is a long run.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis_jsonschema import from_schema
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from tests.unit.grammar.sampling import sample
from tests.unit.grammar.schemas import schemas
from vllm_swift_engine.errors import (
    InvalidGrammarError,
    UnenforcedSchemaWarning,
    UnsupportedSchemaError,
)
from vllm_swift_engine.grammar import GrammarSource, StructuredOutputsParams, grammar_source

EXAMPLES = int(os.environ.get("GRAMMAR_EXAMPLES", "400"))
SAMPLES = 3
several = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize="GRAMMAR_EXAMPLES" not in os.environ,
    suppress_health_check=[*HealthCheck],
)


def source_of(schema: Any, **options: Any) -> GrammarSource | None:
    """The grammar; None where the schema is refused, as it should be."""
    try:
        return grammar_source(StructuredOutputsParams(json=schema, **options))
    except UnsupportedSchemaError as caught:
        error = caught
    except InvalidGrammarError:
        return None
    *parents, keyword = (
        part.replace("~1", "/").replace("~0", "~") for part in error.path.split("/")[1:]
    )
    for part in parents:
        schema = schema[int(part)] if isinstance(schema, list) else schema[part]
    assert keyword == error.keyword
    assert keyword in schema
    return None


def held(schema: Any, source: GrammarSource, seed: int) -> None:
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    for number in range(SAMPLES):
        output = sample(source, seed + number)
        if output is None:
            continue
        try:
            validator.validate(json.loads(output))
        except (RecursionError, re.error):
            # It cannot tell: a reference to itself, a regex that Python has not.
            continue
        except ValidationError as error:
            raise AssertionError((output, error.message, source.text)) from None


@several
@given(schemas(), st.integers(0, 2**20))
def test_every_output_of_an_accepted_schema_is_an_instance(schema: Any, seed: int) -> None:
    source = source_of(schema)
    if source is not None:
        held(schema, source, seed)


@several
@given(schemas(), st.integers(0, 2**20))
def test_closed_objects_are_instances_too(schema: Any, seed: int) -> None:
    source = source_of(schema, disable_additional_properties=True, disable_any_whitespace=True)
    if source is not None:
        held(schema, source, seed)


@settings(several, max_examples=max(EXAMPLES // 4, 1))
@given(schemas())
def test_outside_of_strict_mode_nothing_is_refused_for_a_keyword(schema: Any) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            source = grammar_source(StructuredOutputsParams(json=schema, strict=False))
        except InvalidGrammarError:
            return
    assert all(warning.category is UnenforcedSchemaWarning for warning in caught)
    if source_of(schema) is None:
        assert caught
    assert sample(source, 0, 100) != ""


def keyword(name: str, schema: Any) -> Any:
    return {"type": "array", "items": [{"const": name}, schema], "minItems": 2, "maxItems": 2}


#: Keywords and their values, of which hypothesis-jsonschema makes some. They are pairs since the
#: objects that it makes need an older hypothesis.
KEYWORDS: Any = {
    "type": "array",
    "maxItems": 4,
    "items": {
        "anyOf": [
            keyword("type", {"enum": ["null", "boolean", "integer", "number", "string", "array"]}),
            keyword("enum", {"type": "array", "minItems": 1, "maxItems": 3}),
            keyword("const", {"type": ["string", "number", "array", "boolean"]}),
            keyword("pattern", {"type": "string", "format": "regex"}),
            keyword("minLength", {"type": "integer", "minimum": 0, "maximum": 9}),
            keyword("maxLength", {"type": "integer", "minimum": 0, "maximum": 60}),
            keyword("minimum", {"type": "number"}),
            keyword("maximum", {"type": "number"}),
            keyword("exclusiveMaximum", {"type": "number", "minimum": -9, "maximum": 9}),
            keyword("exclusiveMinimum", {"type": "number", "minimum": -9, "maximum": 9}),
            keyword("multipleOf", {"type": "integer", "minimum": 1, "maximum": 10**6}),
            keyword("minItems", {"type": "integer", "minimum": 0, "maximum": 4}),
            keyword("maxItems", {"type": "integer", "minimum": 0, "maximum": 4}),
        ]
    },
}


@several
@given(
    st.lists(from_schema(KEYWORDS).map(dict), min_size=1, max_size=3),
    st.sampled_from(["allOf", "anyOf", "oneOf", "prefixItems", "not"]),
    st.integers(0, 2**20),
)
def test_keywords_with_values_of_any_kind(parts: list[Any], applicator: str, seed: int) -> None:
    schema = {applicator: {"anyOf": parts} if applicator == "not" else parts}
    source = source_of(schema)
    if source is not None:
        held(schema, source, seed)
