"""Random schemas through the engine: a model of random weights, at a high temperature."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any

import gguf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tests.tiny_llama import random_weights, write_gguf
from tests.unit.grammar.schemas import schemas
from vllm_swift_engine import Engine, SamplingParams, StructuredOutputsParams
from vllm_swift_engine.errors import InvalidGrammarError, UnsupportedSchemaError
from vllm_swift_engine.grammar import grammar_source

EXAMPLES = int(os.environ.get("GRAMMAR_EXAMPLES", "400")) // 10


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    path = tmp_path_factory.mktemp("grammar") / "tiny.gguf"
    write_gguf(path, random_weights(), gguf.GGMLQuantizationType.Q8_0)
    with Engine(path) as opened:
        yield opened


def accepted(schema: Any) -> bool:
    try:
        grammar_source(StructuredOutputsParams(json=schema))
    except (InvalidGrammarError, UnsupportedSchemaError):
        return False
    return True


@settings(
    max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
    suppress_health_check=[*HealthCheck],
)  # fmt: skip
@given(st.lists(schemas().filter(accepted), min_size=8, max_size=8), st.integers(0, 2**20))
def test_every_output_of_the_engine_is_an_instance(
    engine: Engine, batch: list[Any], seed: int
) -> None:
    params = [
        SamplingParams(
            temperature=3, seed=seed + index, max_tokens=100, structured_outputs={"json": schema}
        )
        for index, schema in enumerate(batch)
    ]
    outputs = engine.generate([[1]] * len(batch), params)
    for schema, output in zip(batch, outputs, strict=True):
        answer = output.outputs[0]
        try:
            value = json.loads(answer.text)
        except ValueError:
            assert answer.finish_reason == "length"
            continue
        validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
        try:
            error = next(validator.iter_errors(value), None)
        except (RecursionError, re.error):
            continue
        assert error is None, (schema, answer.text, error.message)
