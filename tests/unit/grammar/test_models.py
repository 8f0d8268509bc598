"""Schemas as pydantic and LangChain make them are accepted in strict mode, and held."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import uuid
from typing import Annotated, Any, Literal, TypedDict

import pytest
from jsonschema import Draft202012Validator
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import AnyUrl, BaseModel, ConfigDict, Field, TypeAdapter

from tests.unit.grammar.sampling import accepts, sample
from vllm_swift_engine.errors import UnsupportedSchemaError
from vllm_swift_engine.grammar import StructuredOutputsParams, grammar_source


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Cat(BaseModel):
    """A cat."""

    kind: Literal["cat"]
    lives: Annotated[int, Field(ge=0, le=9)]


class Dog(BaseModel):
    kind: Literal["dog"]
    weight: Annotated[float, Field(gt=0, lt=100)]


class Car(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["car"] = "car"
    wheels: list[int]


class Bike(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["bike", "trike"] = "bike"
    bells: dict[str, int]


class Ride(BaseModel):
    on: Annotated[Car | Bike, Field(discriminator="kind")]


class Node(BaseModel):
    value: int
    children: list[Node] = []


class Everything(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=20, description="who")]
    nick: str | None = None
    colour: Colour
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    tree: Node | None
    at: datetime.datetime
    day: datetime.date
    clock: datetime.time
    id: uuid.UUID
    link: AnyUrl
    scores: dict[str, float]
    pair: tuple[int, str]
    flags: set[Literal["a", "b"]]
    few: Annotated[list[bool], Field(min_length=1, max_length=3)]
    code: Annotated[str, Field(pattern=r"^[A-Z]{2}\d{3}$")]
    even: Annotated[int, Field(multiple_of=2)]
    anything: Any = None
    number: int | float | Literal["none"]


class Point(TypedDict):
    """A point."""

    x: int
    y: Annotated[int, ..., "down"]


@tool
def search(query: str, limit: int = 3, tags: list[str] | None = None) -> str:
    """Searches."""
    return query


def held(schema: Any, seeds: int, **options: Any) -> list[str]:
    source = grammar_source(StructuredOutputsParams(json=schema, **options))
    outputs = [sample(source, seed, 1500) for seed in range(seeds)]
    found = [output for output in outputs if output is not None]
    assert len(found) > seeds / 2
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    for output in found:
        validator.validate(json.loads(output))
    return found


@pytest.mark.parametrize("model", [Cat, Dog, Ride, Node, Everything])
def test_a_model_reads_every_output_of_its_schema(model: type[BaseModel]) -> None:
    for output in held(model.model_json_schema(), 25, disable_additional_properties=True):
        model.model_validate_json(output)


@pytest.mark.parametrize(
    "kind",
    [
        list[Cat | Dog | None],
        dict[str, list[int]],
        dict[Literal["a", "b"], int],
        tuple[Colour, ...],
        Annotated[list[Cat], Field(max_length=2)],
        Annotated[dict[str, int], Field(min_length=1)],
        frozenset[bool],
        datetime.timedelta,
        int | str,
    ],
)
def test_a_type_reads_every_output_of_its_schema(kind: Any) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    for output in held(adapter.json_schema(), 15):
        adapter.validate_json(output)


@pytest.mark.parametrize("made", [search, Point, Cat, Everything])
@pytest.mark.parametrize("strict", [True, False, None])
def test_a_tool_as_langchain_writes_it(made: Any, strict: bool | None) -> None:
    parameters = convert_to_openai_tool(made, strict=strict)["function"]["parameters"]
    held(parameters, 10, disable_additional_properties=True)


def test_a_decimal_as_pydantic_writes_it() -> None:
    pattern = r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"
    for output in held({"type": "string", "pattern": pattern}, 30):
        decimal.Decimal(json.loads(output))


def test_a_set_of_strings_is_refused_by_name() -> None:
    schema = TypeAdapter(dict[str, set[str]]).json_schema()
    with pytest.raises(UnsupportedSchemaError, match="uniqueItems") as caught:
        grammar_source(StructuredOutputsParams(json=schema))
    assert caught.value.path == "/additionalProperties/uniqueItems"


def test_a_model_does_not_have_to_close_its_objects() -> None:
    schema = Cat.model_json_schema()
    extra = '{"kind":"cat","lives":3,"tail":"long"}'
    given = grammar_source(StructuredOutputsParams(json=schema))
    closed = grammar_source(
        StructuredOutputsParams(json=schema, disable_additional_properties=True)
    )
    assert accepts(given, extra)
    assert not accepts(closed, extra)
    assert accepts(closed, '{"kind":"cat","lives":3}')
    free = grammar_source(
        StructuredOutputsParams(json={"type": "object"}, disable_additional_properties=True)
    )
    assert accepts(free, extra)


def test_closing_looks_at_all_schemas_of_one_object() -> None:
    schema = {
        "allOf": [{"$ref": "#/$defs/base"}],
        "properties": {"b": {"type": "integer"}},
        "required": ["a", "b"],
        "$defs": {"base": {"type": "object", "properties": {"a": {"type": "integer"}}}},
    }
    source = grammar_source(
        StructuredOutputsParams(json=schema, disable_additional_properties=True)
    )
    assert accepts(source, '{"b":1,"a":2}')
    assert not accepts(source, '{"b":1,"a":2,"c":3}')
