from __future__ import annotations

from typing import Any

import pytest

from vllm_swift_engine import SamplingParams, StructuredOutputsParams
from vllm_swift_engine.errors import InvalidArgumentError, InvalidGrammarError, UnsupportedError


@pytest.mark.parametrize(
    ("fields", "culprit"),
    [
        ({}, "none"),
        ({"json_object": False}, "none"),
        ({"json": "{}", "regex": "a"}, "json and regex"),
        ({"json": 3}, "json"),
        ({"json": ["{}"]}, "json"),
        ({"regex": b"a"}, "regex"),
        ({"regex": ["a"]}, "regex"),
        ({"grammar": 1}, "grammar"),
        ({"choice": "yes"}, "choice"),
        ({"choice": ["yes", 1]}, "choice"),
        ({"json_object": "yes"}, "json_object"),
        ({"json_object": True, "strict": None}, "strict"),
        ({"json_object": True, "disable_any_whitespace": 1}, "disable_any_whitespace"),
        ({"json_object": True, "whitespace_pattern": 1}, "whitespace_pattern"),
        ({"regex": "a", "whitespace_pattern": " "}, "whitespace_pattern"),
        ({"choice": ["a"], "disable_additional_properties": True}, "disable_additional_properties"),
        (
            {"json_object": True, "whitespace_pattern": " ", "disable_any_whitespace": True},
            "disable_any_whitespace",
        ),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], culprit: str) -> None:
    with pytest.raises(InvalidArgumentError, match=culprit):
        StructuredOutputsParams(**fields)


@pytest.mark.parametrize("fields", [{"choice": []}, {"choice": ["\ud800"]}, {"regex": "\udc00"}])
def test_what_no_output_can_be_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidGrammarError, match=next(iter(fields))):
        StructuredOutputsParams(**fields)


def test_a_structural_tag_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match="structural_tag"):
        StructuredOutputsParams(json="{}", structural_tag="{}")


def test_sampling_params_take_a_dict_or_the_class() -> None:
    made = StructuredOutputsParams(json={"type": "integer"})
    assert SamplingParams(structured_outputs=made).structured_outputs is made
    given = SamplingParams(structured_outputs={"json": {"type": "integer"}, "json_object": None})
    assert given.structured_outputs == made
    assert SamplingParams().structured_outputs is None


@pytest.mark.parametrize("value", ["{}", {"jsn": "{}"}, {}, 3])
def test_sampling_params_refuse_the_rest(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="structured_outputs"):
        SamplingParams(structured_outputs=value)
