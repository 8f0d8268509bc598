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
        ("presence_penalty", 2.1),
        ("presence_penalty", -2.1),
        ("presence_penalty", float("nan")),
        ("frequency_penalty", 2.1),
        ("frequency_penalty", -2.1),
        ("repetition_penalty", 0),
        ("repetition_penalty", -1),
        ("repetition_penalty", float("inf")),
        ("min_tokens", -1),
        ("min_tokens", 17),
        ("min_tokens", 1.5),
        ("logprobs", 21),
        ("logprobs", -2),
        ("logprobs", False),
        ("prompt_logprobs", 21),
        ("prompt_logprobs", "1"),
        ("ignore_eos", 1),
        ("skip_special_tokens", 0),
        ("logit_bias", [1]),
        ("allowed_token_ids", [-1]),
        ("allowed_token_ids", 3),
        ("bad_words", "word"),
        ("bad_words", ["a", ""]),
        ("bad_words", ["a", " "]),
        ("bad_words", [3]),
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
        ("logprobs", -1),
        ("prompt_logprobs", -1),
        ("include_stop_str_in_output", True),
        ("detokenize", False),
        ("spaces_between_special_tokens", False),
        ("truncate_prompt_tokens", 5),
        ("extra_args", {"a": 1}),
        ("flat_logprobs", True),
        ("logprob_token_ids", [3]),
        ("output_kind", 2),
        ("prompt_logprob_start", 4),
        ("prompt_logprob_token_ids", [3]),
        ("repetition_detection", {"max_pattern_size": 3}),
        ("routed_experts_prompt_start", 4),
        ("skip_reading_prefix_cache", True),
        ("stream_interval", 8),
        ("thinking_token_budget", 100),
        ("trace_decode_token_ids", [3]),
    ],
)
def test_what_is_not_built_yet_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(UnsupportedError, match=field):
        SamplingParams(**{field: value})


@pytest.mark.parametrize(
    ("biases", "culprit"),
    [
        ({-1: 1.0}, "-1"),
        ({"a": 1.0}, "'a'"),
        ({1.5: 1.0}, "1.5"),
        ({1: "2"}, "'2'"),
        ({1: float("nan")}, "nan"),
        ({1: float("inf")}, "inf"),
        ({1: True}, "True"),
    ],
)
def test_a_bad_bias_is_named(biases: Any, culprit: str) -> None:
    with pytest.raises(InvalidArgumentError, match="logit_bias") as caught:
        SamplingParams(logit_bias=biases)
    assert culprit in str(caught.value)


def test_an_empty_list_of_allowed_tokens_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="allowed_token_ids is empty"):
        SamplingParams(allowed_token_ids=[])


def test_biases_are_cut_as_by_vllm() -> None:
    params = SamplingParams(logit_bias={"7": 300, 8: -1e9, 9: 2})  # type: ignore[dict-item]
    assert params.logit_bias == {7: 100.0, 8: -100.0, 9: 2.0}


def test_logprobs_true_is_one() -> None:
    assert SamplingParams(logprobs=True).logprobs == 1
    assert SamplingParams(logprobs=0, prompt_logprobs=20).prompt_logprobs == 20


def test_as_many_tokens_may_be_demanded_as_are_allowed() -> None:
    assert SamplingParams(min_tokens=16).min_tokens == 16
    assert SamplingParams(min_tokens=500, max_tokens=None).min_tokens == 500


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
