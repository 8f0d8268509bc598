from __future__ import annotations

import copy
import dataclasses
import pickle
from fractions import Fraction
from typing import Any

import numpy
import pytest

from vllm_swift_engine import SamplingParams
from vllm_swift_engine.errors import InvalidArgumentError, UnsupportedError


def test_defaults_are_vllms() -> None:
    params = SamplingParams()
    assert (params.n, params.temperature, params.top_p, params.top_k) == (1, 1.0, 1.0, 0)
    assert (params.min_p, params.seed, params.stop, params.max_tokens) == (0.0, None, None, 16)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("temperature", 1e300),
        ("temperature", 10**400),
        ("temperature", "1"),
        ("temperature", True),
        ("temperature", None),
        ("top_p", 0),
        ("top_p", 1.01),
        ("top_p", float("nan")),
        ("min_p", -0.01),
        ("min_p", 1.5),
        ("top_k", -2),
        ("top_k", 1.5),
        ("top_k", 2**31),
        ("seed", -2),
        ("seed", 2**64),
        ("seed", 1.0),
        ("max_tokens", 0),
        ("max_tokens", -1),
        ("max_tokens", 2**32),
        ("max_tokens", 1.5),
        ("max_tokens", True),
        ("stop", ""),
        ("stop", ["a", ""]),
        ("stop", [1]),
        ("stop", 1),
        ("stop", b"bytes"),
        ("stop_token_ids", [-1]),
        ("n", 0),
        ("n", 1025),
        ("n", 1.5),
        ("n", True),
        ("stop_token_ids", ["2"]),
        ("stop_token_ids", 2),
        ("stop_token_ids", "2"),
        ("stop_token_ids", [1.0]),
    ],
)
def test_a_bad_value_is_named(field: str, value: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        SamplingParams(**{field: value})
    assert field in str(caught.value)
    culprit = value[-1] if isinstance(value, list) else value
    assert repr(culprit)[:20] in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("presence_penalty", 0.5),
        ("frequency_penalty", 0.5),
        ("repetition_penalty", 1.1),
        ("min_tokens", 1),
        ("ignore_eos", True),
        ("logprobs", 1),
        ("logprobs", 0),
        ("prompt_logprobs", 1),
        ("logit_bias", {1: 2.0}),
        ("allowed_token_ids", [1]),
        ("bad_words", ["x"]),
        ("include_stop_str_in_output", True),
        ("detokenize", False),
        ("skip_special_tokens", False),
        ("spaces_between_special_tokens", False),
        ("truncate_prompt_tokens", 5),
        ("structured_outputs", {"json": "{}"}),
        ("extra_args", {"a": 1}),
    ],
)
def test_what_is_not_built_yet_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(UnsupportedError, match=field):
        SamplingParams(**{field: value})


def test_unknown_fields_are_refused_by_name() -> None:
    with pytest.raises(TypeError, match="temprature"):
        SamplingParams(temprature=1.0)  # type: ignore[call-arg]


def test_good_values_are_kept() -> None:
    params = SamplingParams(
        temperature=Fraction(1, 2),  # type: ignore[arg-type]
        top_p=numpy.float32(0.5),
        top_k=numpy.int64(7),
        min_p=0,
        seed=2**64 - 1,
        stop=["a", "bc"],
        stop_token_ids=[numpy.int32(3)],
        max_tokens=None,
        bad_words=[],
    )
    assert (params.temperature, params.top_p, params.top_k) == (0.5, 0.5, 7)
    assert (params.stop_strings, params.stop_token_ids) == (("a", "bc"), (3,))
    assert type(params.top_k) is int


def test_stop_strings() -> None:
    assert SamplingParams().stop_strings == ()
    assert SamplingParams(stop="END").stop_strings == ("END",)


def test_values_do_not_change_and_can_be_copied() -> None:
    params = SamplingParams(stop=["a"], temperature=0.5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        params.temperature = 1.0  # type: ignore[misc]
    assert dataclasses.replace(params, top_k=5).top_k == 5
    assert copy.deepcopy(params) == pickle.loads(pickle.dumps(params)) == params
