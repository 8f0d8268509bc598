"""Outputs that are held to a grammar, on the real model."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from vllm_swift_engine import Engine, RequestOutput, SamplingParams, errors
from vllm_swift_engine._ffi import handles
from vllm_swift_engine.grammar import GrammarSource

pytestmark = pytest.mark.model

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "family_name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "preferred_languages": {
            "type": "array",
            "items": {"enum": ["Swift", "Python", "C++"]},
            "minItems": 1,
            "maxItems": 2,
        },
        "is_registered": {"type": "boolean"},
    },
    "required": ["family_name", "age", "preferred_languages", "is_registered"],
    "additionalProperties": False,
}
#: Whose text goes on for as long as the model likes.
NOTE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "done": {"type": "boolean"},
    },
    "required": ["text", "tags", "done"],
    "additionalProperties": False,
}
COMPACT = {"json": PERSON, "disable_any_whitespace": True}


def is_person(text: str) -> bool:
    person = json.loads(text)
    return (
        [*person] == PERSON["required"]
        and isinstance(person["family_name"], str)
        and len(person["family_name"]) <= 12
        and isinstance(person["age"], int)
        and 0 <= person["age"] <= 120
        and 1 <= len(person["preferred_languages"]) <= 2
        and {*person["preferred_languages"]} <= {"Swift", "Python", "C++"}
        and isinstance(person["is_registered"], bool)
    )


@pytest.fixture(scope="module")
def prompt(smollm2_engine: Engine) -> list[int]:
    question = "Describe a programmer as a JSON object."
    return smollm2_engine.apply_chat_template([{"role": "user", "content": question}])


def params(grammar: dict[str, Any], **fields: Any) -> SamplingParams:
    return SamplingParams(
        **{"temperature": 0, "max_tokens": 120, **fields}, structured_outputs=grammar
    )


def tokens_of(outputs: Sequence[RequestOutput]) -> list[list[list[int]]]:
    return [[one.token_ids for one in output.outputs] for output in outputs]


@pytest.mark.parametrize("temperature", [0, 1.5])
@pytest.mark.parametrize("grammar", [{"json": PERSON}, COMPACT])
def test_json_follows_its_schema(
    smollm2_engine: Engine, prompt: list[int], grammar: dict[str, Any], temperature: float
) -> None:
    request = params(grammar, temperature=temperature, n=8, seed=1)
    for output in smollm2_engine.generate(prompt, request).outputs:
        assert is_person(output.text), output.text
        assert output.finish_reason == "stop"
        assert output.stop_reason is None


def test_the_other_kinds_of_grammar(smollm2_engine: Engine, prompt: list[int]) -> None:
    kinds: list[tuple[dict[str, Any], str]] = [
        ({"choice": ["red", "green (very)", "reddish"]}, r"red|green \(very\)|reddish"),
        ({"regex": "[A-Z]{3}-[0-9]{4}"}, r"[A-Z]{3}-[0-9]{4}"),
        ({"grammar": 'start: "a" b\nb: "b" | b "b"'}, r"ab+"),
        ({"grammar": 'root ::= "x" [0-9] | "y"'}, r"x[0-9]|y"),
    ]
    for grammar, pattern in kinds:
        request = params(grammar, temperature=1, n=4, seed=3, max_tokens=24)
        for output in smollm2_engine.generate(prompt, request).outputs:
            if output.finish_reason == "stop":
                assert re.fullmatch(pattern, output.text), (grammar, output.text)
    request = params({"json_object": True}, max_tokens=200, frequency_penalty=1)
    assert isinstance(json.loads(smollm2_engine.generate(prompt, request).text), dict)


def test_a_special_token_of_the_model_can_be_a_part_of_a_grammar(
    smollm2_engine: Engine, prompt: list[int]
) -> None:
    grammar = {"grammar": "start: <|im_start|> /[a-z]{4}/"}
    (output,) = smollm2_engine.generate(prompt, params(grammar)).outputs
    assert output.token_ids[0] == smollm2_engine.tokenize("<|im_start|>")[0]
    assert re.fullmatch("[a-z]{4}", output.text)


def test_tokens_without_a_choice_take_no_step_of_their_own(
    smollm2_engine: Engine, prompt: list[int]
) -> None:
    before = smollm2_engine.stats()
    output = smollm2_engine.generate(prompt, params(COMPACT))
    after = smollm2_engine.stats()
    assert is_person(output.text)
    count = len(output.outputs[0].token_ids)
    assert output.usage.completion_tokens == count
    assert after.steps - before.steps < 0.7 * count
    assert after.output_tokens - before.output_tokens == count
    # They are the tokens that the tokenizer has for the text.
    start = '{"family_name":"'
    assert output.text.startswith(start)
    names = smollm2_engine.tokenize('"preferred_languages":["')
    text = smollm2_engine.detokenize(names)
    assert text in output.text


@pytest.mark.parametrize("logprobs", [None, 0])
@pytest.mark.parametrize("compact", [False, True])
def test_json_is_closed_before_its_tokens_run_out(
    smollm2_engine: Engine, prompt: list[int], compact: bool, logprobs: int | None
) -> None:
    grammar = {"json": NOTE, "disable_any_whitespace": compact}
    limits = range(40, 90, 7)
    requests = [
        params(grammar, temperature=1, seed=limit, n=2, max_tokens=limit, logprobs=logprobs)
        for limit in limits
    ]
    reasons = []
    for limit, result in zip(
        limits, smollm2_engine.generate([prompt] * len(limits), requests), strict=True
    ):
        for output in result.outputs:
            note = json.loads(output.text)
            assert [type(note[name]) for name in NOTE["required"]] == [str, list, bool]
            assert all(isinstance(tag, str) for tag in note["tags"])
            assert len(output.token_ids) <= limit
            assert logprobs is None or len(output.logprobs or ()) == len(output.token_ids)
            reasons.append(output.finish_reason)
    assert "length" in reasons


def test_what_cannot_be_closed_goes_on(smollm2_engine: Engine, prompt: list[int]) -> None:
    """Rules with `stop` and `max_tokens` take no token back; the other has no end near."""
    for grammar, pattern in (
        ({"grammar": 'start: a "!"\na[stop="b"]: /[a-z]*/'}, "[a-z]*!?"),
        ({"grammar": 'start: a "!"\na[max_tokens=60]: /[a-z]*/'}, "[a-z]*!?"),
        ({"regex": "[a-z ]{4000}"}, "[a-z ]*"),
    ):
        (output,) = smollm2_engine.generate(prompt, params(grammar, max_tokens=40)).outputs
        assert re.fullmatch(pattern, output.text)
        assert output.finish_reason == "stop" or len(output.token_ids) == 40


@pytest.mark.parametrize("logprobs", [None, 0])
def test_a_banned_word_closes_nothing(
    smollm2_engine: Engine, prompt: list[int], logprobs: int | None
) -> None:
    request = params({"regex": "[a-z ]{3,}0"}, max_tokens=30, bad_words=["0"], logprobs=logprobs)
    (output,) = smollm2_engine.generate(prompt, request).outputs
    assert re.fullmatch("[a-z ]+", output.text)
    assert (output.finish_reason, len(output.token_ids)) == ("length", 30)


def test_too_few_tokens_for_any_instance_are_filled(
    smollm2_engine: Engine, prompt: list[int]
) -> None:
    (output,) = smollm2_engine.generate(prompt, params(COMPACT, max_tokens=6)).outputs
    assert output.finish_reason == "length"
    assert len(output.token_ids) == 6


def test_logprobs_are_of_every_token_and_change_none(
    smollm2_engine: Engine, prompt: list[int]
) -> None:
    plain = smollm2_engine.generate(prompt, params(COMPACT))
    output = smollm2_engine.generate(prompt, params(COMPACT, logprobs=2))
    assert output.text == plain.text
    (one,) = output.outputs
    assert one.logprobs is not None
    assert len(one.logprobs) == len(one.token_ids)
    # They are of the model's logits, so that a forced token may be an unlikely one.
    sequence = [*prompt, *one.token_ids]
    rows = smollm2_engine.logits(sequence).tolist()
    for index, (token, given) in enumerate(zip(one.token_ids, one.logprobs, strict=True)):
        row = rows[len(prompt) + index - 1]
        assert given[token].rank == sum(logit >= row[token] for logit in row)


def test_what_runs_beside_a_request_changes_nothing(smollm2: Path, prompt: list[int]) -> None:
    """Grammars, free text, penalties, outputs and stops; blocks too few for all."""
    requests = [
        params(COMPACT, temperature=1, seed=5, n=3),
        SamplingParams(temperature=1, seed=6, max_tokens=60),
        params({"json": PERSON}, temperature=1.2, seed=7, repetition_penalty=1.3),
        params(COMPACT, temperature=0.8, seed=8, frequency_penalty=1.0, logprobs=1, n=2),
        params({"regex": "[a-z ]{400}"}, temperature=1, seed=9, max_tokens=90, n=4),
        params({"choice": ["yes", "no", "perhaps"]}, seed=10),
        params(COMPACT, temperature=1, seed=11, stop=['"age"'], presence_penalty=0.5),
        params({"json": PERSON}, temperature=1, seed=12, logit_bias={198: -5.0}, top_k=40),
    ]
    with Engine(smollm2, share=False) as engine:
        alone = [
            [
                engine.generate(
                    prompt, dataclasses.replace(request, n=1, seed=(request.seed or 0) + index)
                )
                .outputs[0]
                .token_ids
                for index in range(request.n)
            ]
            for request in requests
        ]
    with Engine(smollm2, share=False, kv_cache_tokens=256, max_model_len=192) as engine:
        outputs = engine.generate([prompt] * len(requests), requests)
        assert tokens_of(outputs) == alone


def test_a_grammar_that_the_other_parameters_leave_nothing_of_fails_alone(
    smollm2_engine: Engine, prompt: list[int]
) -> None:
    digit = smollm2_engine.tokenize("7")
    free = SamplingParams(temperature=0, max_tokens=40)
    other = smollm2_engine.stream(prompt, free)
    begun = next(other).text
    with pytest.raises(errors.InvalidGrammarError, match="leave no token"):
        smollm2_engine.generate(prompt, params({"regex": "[a-z]+"}, allowed_token_ids=digit))
    whole = begun + "".join(chunk.text for chunk in other)
    assert whole == smollm2_engine.generate(prompt, free).text


@pytest.mark.parametrize(
    "grammar",
    [{"regex": "a("}, {"grammar": "start: unknown"}, {"json": {"type": "nothing"}}],
)
def test_a_grammar_that_cannot_be_read_is_refused(
    smollm2_engine: Engine, prompt: list[int], grammar: dict[str, Any]
) -> None:
    with pytest.raises(errors.InvalidArgumentError):
        smollm2_engine.generate(prompt, params(grammar))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("regex", "(" * 5000 + "a" + ")" * 5000),
        ("lark", "start: " + "(" * 5000 + '"a"' + ")" * 5000),
        ("json_schema", '{"allOf":[' * 5000 + "{}" + "]}" * 5000),
        ("regex", "a" * (1 << 21)),
        ("regex", ".?" * 20_000),
        ("lark", "start: A\nA: /" + ".?" * 20_000 + "/"),
        ("lark", "start: r0" + "".join(f"\nr{i}: r{i + 1}" for i in range(60_000))),
        ("lark", "start: r0" + "".join(f'\nr{i}: r{i + 1} "x"' for i in range(48_000))
            + '\nr48000: "a"'),
        ("lark", "start: " + " ".join(f"r{i}" for i in range(60_000)) + "".join(
            f'\nr{i}: "a" | r{i} "b"' for i in range(60_000))),
    ],
)  # fmt: skip
def test_a_grammar_that_asks_for_too_much_is_refused(
    smollm2_engine: Engine, kind: Any, text: str
) -> None:
    model = smollm2_engine._session.model
    with pytest.raises(errors.GrammarTooComplexError) as caught:
        model.grammar(GrammarSource(kind, text))
    assert "backtrace" not in str(caught.value)


def test_a_missing_library_is_told_when_a_grammar_is_first_asked_for(
    smollm2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> Path:
        raise errors.GrammarLibraryError("nowhere")

    monkeypatch.setattr(handles, "find_llguidance", missing)
    with Engine(smollm2, share=False) as engine:
        assert engine.generate("One, two,", SamplingParams(max_tokens=2)).text
        with pytest.raises(errors.GrammarLibraryError, match="nowhere"):
            engine.generate("One, two,", params({"choice": ["a"]}))


def test_a_model_that_slept_has_its_grammars_again(smollm2: Path, prompt: list[int]) -> None:
    with Engine(smollm2, share=False) as engine:
        first = engine.generate(prompt, params(COMPACT)).text
        engine.sleep()
        engine.wake()
        assert engine.generate(prompt, params(COMPACT)).text == first
