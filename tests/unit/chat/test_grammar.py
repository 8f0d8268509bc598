"""Every format's grammar, run by llguidance: it takes what the format's models write, and no more.

Markers are tokens of their own in one vocabulary and ordinary text in the other.
"""

from __future__ import annotations

import json
import random
from functools import cache
from typing import Any

import llguidance
import numpy as np
import pytest
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask
from tokenizers import Tokenizer

from tests.unit.chat.answers import (
    CALLS,
    NAMES,
    TOOLS,
    Case,
    all_formats,
    read,
    template_format,
    tool,
)
from tests.unit.engine.tokenizers_made_here import byte_level
from vllm_swift_engine.chat.answer_grammar import answer_grammar
from vllm_swift_engine.chat.formats.base import Reasoning
from vllm_swift_engine.chat.lark import Lark
from vllm_swift_engine.chat.tools import ToolChoice
from vllm_swift_engine.errors import UnenforcedSchemaWarning, UnsupportedSchemaError
from vllm_swift_engine.grammar import StructuredOutputsParams

STOP = "<|stop|>"
THINK = Reasoning("<think>", "</think>")
BOTH = [(name, special) for name in all_formats() for special in (False, True)]
every_format = pytest.mark.parametrize(("name", "special"), BOTH)

tagged_reasoning = pytest.mark.parametrize(
    ("name", "special"), [(name, special) for name, special in BOTH if name != "harmony"]
)


@cache
def vocabulary(name: str, special: bool) -> tuple[Tokenizer, llguidance.LLTokenizer]:
    tokenizer = byte_level()
    if special:
        tokenizer.add_special_tokens([*template_format(name).markers, *THINK])
    tokenizer.add_special_tokens([STOP])
    end = tokenizer.token_to_id(STOP)
    return tokenizer, llguidance.LLTokenizer(tokenizer.to_str(), eos_token=end)


def special_tokens(tokenizer: Tokenizer) -> dict[str, int]:
    added = tokenizer.get_added_tokens_decoder()
    return {token.content: index for index, token in added.items() if token.special}


class Held:
    """Answers under a request's grammar."""

    def __init__(
        self,
        name: str,
        special: bool,
        tool_choice: Any = "auto",
        *,
        several: bool = True,
        reasoning: Reasoning | None = None,
        prompt: str = "",
        answer: StructuredOutputsParams | None = None,
        tools: list[dict[str, Any]] | None = None,
    ) -> None:
        self.tokenizer, self.vocabulary = vocabulary(name, special)
        params = answer_grammar(
            template_format(name, reasoning),
            Lark(special_tokens(self.tokenizer)),
            prompt,
            ToolChoice.of(TOOLS if tools is None else tools, tool_choice),
            several=several,
            strict=None,
            answer=answer,
        )
        assert params is not None
        assert params.grammar is not None
        self.grammar = params.grammar

    def matcher(self) -> llguidance.LLMatcher:
        matcher = llguidance.LLMatcher(self.vocabulary, self.grammar)
        assert not matcher.get_error(), f"{matcher.get_error()}\n{self.grammar}"
        return matcher

    def takes(self, text: str, whole: bool = True) -> bool:
        matcher = self.matcher()
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        if matcher.validate_tokens(ids) < len(ids):
            return False
        matcher.consume_tokens(ids)
        return not whole or matcher.is_accepting()

    def walk(self, chance: random.Random, most: int) -> str | None:
        """An answer of tokens at random that the grammar allows; None if it is too long."""
        matcher, tokens = self.matcher(), []
        mask = allocate_token_bitmask(1, self.vocabulary.vocab_size)
        end = self.tokenizer.token_to_id(STOP)
        while len(tokens) < most:
            fill_next_token_bitmask(matcher, mask, 0)
            allowed = np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little"))
            # Text never ends by itself when every byte is as likely.
            token = end if end in allowed else self._drawn(chance, tokens, allowed)
            if token == end:
                return self.tokenizer.decode(tokens, skip_special_tokens=False)
            matcher.consume_token(token)
            tokens.append(token)
        return None

    def _drawn(self, chance: random.Random, tokens: list[int], allowed: Any) -> int:
        """Any of the tokens, but often one that goes on with a marker which ends a text."""
        text = self.tokenizer.decode(tokens, skip_special_tokens=False)
        for end in ("</parameter>", "<escape>", '<|"|>'):
            begun = next((n for n in range(len(end) - 1, -1, -1) if text.endswith(end[:n])), 0)
            next_one = self.tokenizer.token_to_id(end[begun])
            if next_one in allowed and chance.random() < (0.9 if begun else 0.05):
                return next_one
        return int(chance.choice(allowed))


def written(name: str, *calls: tuple[str, dict[str, Any]]) -> str:
    return template_format(name).write_calls(
        [{"function": {"name": one, "arguments": arguments}} for one, arguments in calls]
    )


def plain(name: str, text: str) -> str:
    return f"<|channel|>final<|message|>{text}" if name == "harmony" else text


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


@every_format
def test_the_formats_own_calls_are_taken(name: str, special: bool) -> None:
    for choice in ("auto", "required"):
        held = Held(name, special, choice)
        for call in CALLS:
            assert held.takes(written(name, call)), call
        assert held.takes(written(name, *CALLS))
        assert not held.takes(written(name, CALLS[0])[:-3])


@every_format
def test_text_is_free_only_where_a_call_is_not_required(name: str, special: bool) -> None:
    for text in ("Hello.", "", " {\n}é😀", '{"a": 1}', "1 < 2 [x] <to"):
        assert Held(name, special).takes(plain(name, text))
    for choice in ("required", named("add")):
        assert not Held(name, special, choice).takes(plain(name, "Hello."), whole=False)
        assert not Held(name, special, choice).takes("")


@every_format
def test_a_named_tool_is_the_only_one(name: str, special: bool) -> None:
    held = Held(name, special, named("add"))
    assert held.takes(written(name, ("add", {"a": 1, "b": 2})))
    assert not held.takes(written(name, ("now", {})))


@every_format
def test_one_call_where_there_may_not_be_several(name: str, special: bool) -> None:
    for choice in ("auto", "required"):
        held = Held(name, special, choice, several=False)
        assert held.takes(written(name, CALLS[0]))
        assert not held.takes(written(name, *CALLS[:2]))


@every_format
def test_arguments_keep_to_their_schema(name: str, special: bool) -> None:
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("add", {"a": 1}),
        ("add", {"a": 1, "b": "x"}),
        ("get_weather", {"days": 1}),
        ("get_weather", {"city": "x", "other": 1}),
        ("now", {"when": 1}),
    ]
    for call in wrong:
        assert not Held(name, special).takes(written(name, call)), call
    # To formats without markers, a name that is no tool's is text.
    for call in [*wrong, ("nothing", {})]:
        assert not Held(name, special, "required").takes(written(name, call)), call


@every_format
@pytest.mark.parametrize("choice", ["required", named("get_weather"), named("store")], ids=str)
def test_whatever_is_drawn_is_a_valid_call(name: str, special: bool, choice: Any) -> None:
    import jsonschema

    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in TOOLS}
    held, chance, ended = Held(name, special, choice), random.Random(f"{name}{choice}"), 0
    for _ in range(12):
        answer = held.walk(chance, 400)
        if answer is None:
            continue
        ended += 1
        message = read(template_format(name), list(answer), Case(answer))
        # Harmony's models may speak to the user first.
        assert not message.text or name == "harmony"
        assert not message.invalid_tool_calls
        assert message.tool_calls
        for call in message.tool_calls:
            jsonschema.validate(json.loads(call.arguments), schemas[call.name])
    assert ended


@tagged_reasoning
def test_reasoning_comes_first(name: str, special: bool) -> None:
    call = written(name, ("add", {"a": 1, "b": 2}))
    begun = Held(name, special, "required", reasoning=THINK, prompt="x<think>\n")
    assert begun.takes(f"so\n</think>\n\n{call}")
    assert not begun.takes("so", whole=True)
    assert not begun.takes(f"so</think>so{call}")
    free = Held(name, special, "required", reasoning=THINK)
    assert free.takes(f"<think>\nso\n</think>\n\n{call}")
    assert free.takes(call)
    done = Held(name, special, "required", reasoning=THINK, prompt="<think>\n\n</think>\n\n")
    assert done.takes(call)
    assert not done.takes("<think>", whole=False)


ANSWERS = [
    (StructuredOutputsParams(json={"type": "integer"}), "12", "x"),
    (StructuredOutputsParams(regex='a/b|"\n'), "a/b", "b"),
    (StructuredOutputsParams(choice=["yes", "no/never"]), "no/never", "maybe"),
    (StructuredOutputsParams(grammar='start: "start" x\nx: /[0-9]+/'), "start12", "start"),
]


@tagged_reasoning
@pytest.mark.parametrize(("answer", "good", "bad"), ANSWERS, ids=[good for _, good, _ in ANSWERS])
def test_what_the_caller_wants_comes_after_reasoning_or_instead_of_calls(
    name: str, special: bool, answer: StructuredOutputsParams, good: str, bad: str
) -> None:
    alone = Held(name, special, reasoning=THINK, prompt="<think>", answer=answer, tools=[])
    assert alone.takes(f"so</think>\n\n{good}")
    assert not alone.takes(f"so</think>\n\n{bad}")
    either = Held(name, special, answer=answer)
    assert either.takes(good)
    assert either.takes(written(name, ("now", {})))
    assert not either.takes(bad)


#: Calls of the plain format begin with no marker, and those of harmony with a special token alone.
MARKED = [name for name in all_formats() if name not in ("json", "harmony")]


@pytest.mark.parametrize("name", MARKED)
def test_a_marker_that_is_spelled_out_begins_a_call_too(name: str) -> None:
    """The parser reads text: were it free, a call could be anything."""
    marker = getattr(template_format(name), "begins", [None])[0] or "<|python_tag|>"
    held = Held(name, special=True)
    matcher = held.matcher()
    spelled = held.tokenizer.encode(marker[:1] + "\0" + marker[1:]).ids
    letters = [token for token in spelled if held.tokenizer.decode([token]) != "\0"]
    assert matcher.consume_tokens([*held.tokenizer.encode("So: ").ids, *letters])
    assert not matcher.is_accepting()
    garbage = held.tokenizer.encode("?").ids
    assert matcher.validate_tokens(garbage) == 0


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("name", ["qwen3_coder", "functiongemma"])
def test_values_that_are_no_json_keep_to_their_schema(name: str, special: bool) -> None:
    properties: dict[str, Any] = {
        "unit": {"enum": ["c", "f", 1]},
        "code": {"type": "string", "pattern": "^[a-z]{2}$"},
        "long": {"type": "string", "minLength": 3, "maxLength": 5},
        "list": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
        "some": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "inner": {
            "type": "object",
            "properties": {"a": {"type": "boolean"}, "b": {"const": "x"}, "c": {"type": "null"}},
            "required": ["b"],
        },
    }
    held = Held(name, special, "required", tools=[tool("f", [], **properties)])
    good = {"unit": "f", "code": "ab", "long": "abcd", "list": [1, 2], "some": None}
    assert held.takes(written(name, ("f", good)))
    assert held.takes(written(name, ("f", {"some": 3, "inner": {"b": "x"}})))
    assert held.takes(written(name, ("f", {"inner": {"a": True, "b": "x", "c": None}})))
    assert held.takes(written(name, ("f", {"unit": 1})))
    assert held.takes(written(name, ("f", {})))
    for bad in (
        {"unit": "k"},
        {"code": "abc"},
        {"long": "ab"},
        {"long": "abcdef"},
        {"list": []},
        {"list": [1, 2, 3]},
        {"list": ["x"]},
        {"some": "x"},
        {"inner": {"a": True}},
        {"inner": {"b": "y"}},
        {"other": 1},
    ):
        assert not held.takes(written(name, ("f", bad))), bad


@pytest.mark.parametrize("name", ["qwen3_coder", "functiongemma"])
def test_what_a_format_cannot_enforce_is_refused_or_said(name: str) -> None:
    patterns = {"type": "object", "patternProperties": {"^x": {"type": "integer"}}}
    tools = [tool("f", [], a=patterns)] if name == "functiongemma" else [tool("f")]
    if name == "qwen3_coder":
        tools[0]["function"]["parameters"] = patterns
    with pytest.warns(UnenforcedSchemaWarning, match="patternProperties"):
        Held(name, False, "required", tools=tools)
    tools[0]["function"]["strict"] = True
    with pytest.raises(UnsupportedSchemaError, match="patternProperties"):
        Held(name, False, "required", tools=tools)


@pytest.mark.parametrize("special", [False, True])
def test_harmony_has_a_channel_for_everything(special: bool) -> None:
    thought = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"
    said = "<|channel|>commentary<|message|>Let me look.<|end|><|start|>assistant"
    call = written("harmony", ("add", {"a": 1, "b": 2}))
    required = Held("harmony", special, "required")
    assert required.takes(thought + said + call)
    assert required.takes(call)
    assert not required.takes(thought + plain("harmony", "x"), whole=False)
    answer = StructuredOutputsParams(json={"type": "integer"})
    for tools in ([], TOOLS):
        held = Held("harmony", special, answer=answer, tools=tools)
        assert held.takes(thought + plain("harmony", "12<|return|>"))
        assert not held.takes(thought + plain("harmony", "x"), whole=False)
        assert not held.takes("12", whole=False)


def test_names_are_the_tools() -> None:
    assert {tool["function"]["name"] for tool in TOOLS} == set(NAMES)
