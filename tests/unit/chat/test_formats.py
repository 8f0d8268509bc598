"""Every format: what models write is read as what they say, however it is cut."""

from __future__ import annotations

import itertools
import json
import random
import re
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.unit.chat.answers import (
    CALLS,
    NAMES,
    VARIANTS,
    Case,
    all_formats,
    cuts,
    deltas,
    read,
    said,
    template_format,
)
from tests.unit.chat.broken import INVALID, MARKUP
from tests.unit.chat.cases import CASES
from vllm_swift_engine.chat.formats.base import Reasoning
from vllm_swift_engine.chat.request import joined

THINK = Reasoning("<think>", "</think>")
ALL = [(name, case) for name, cases in CASES.items() for case in cases]


def written(name: str, calls: list[tuple[str, dict[str, Any]]]) -> str:
    return template_format(name).write_calls(
        [{"function": {"name": one, "arguments": arguments}} for one, arguments in calls]
    )


def test_every_format_has_cases() -> None:
    assert set(CASES) == set(INVALID) == set(MARKUP) == set(all_formats()) - set(VARIANTS)


@pytest.mark.parametrize(("name", "case"), ALL, ids=[f"{n}-{c.answer[:30]!r}" for n, c in ALL])
def test_an_answer_is_what_it_says_however_it_is_cut(name: str, case: Case) -> None:
    chat_format = template_format(name, THINK)
    for pieces in cuts(case.answer):
        message = read(chat_format, pieces, case)
        assert said(message) == (case.text, case.calls, case.reasoning), pieces
        assert not message.invalid_tool_calls


@pytest.mark.parametrize("name", all_formats())
@pytest.mark.parametrize("calls", [[one] for one in CALLS] + [CALLS, CALLS[:2]], ids=str)
def test_calls_are_read_as_they_are_written(name: str, calls: list[Any]) -> None:
    chat_format = template_format(name)
    answer = written(name, calls)
    for pieces in cuts(answer):
        message = read(chat_format, pieces, Case(answer))
        assert said(message) == ("", tuple(calls), "")
        assert not message.invalid_tool_calls


@pytest.mark.parametrize("name", all_formats())
def test_arguments_come_as_they_are_written(name: str) -> None:
    """The name before the arguments, and each piece as soon as it is there."""
    answer = written(name, [("get_weather", {"city": "x" * 50})])
    pieces = [
        piece for delta in deltas(template_format(name), answer) for piece in delta.tool_calls
    ]
    assert (pieces[0].index, pieces[0].name) == (0, "get_weather")
    assert pieces[0].id
    assert all(piece.index == 0 and piece.id is piece.name is None for piece in pieces[1:])
    assert len([piece for piece in pieces if piece.arguments]) > 50
    assert json.loads("".join(piece.arguments for piece in pieces)) == {"city": "x" * 50}


@pytest.mark.parametrize("name", all_formats())
@settings(max_examples=50)
@given(data=st.data())
def test_any_cuts_give_the_same(name: str, data: st.DataObject) -> None:
    parts = st.sampled_from(
        [*MARKUP[name.split()[0]], "<think>", "</think>", " ", "\n", "x", "é😀", '"', "{"]
    )
    answer = "".join(data.draw(st.lists(parts, max_size=25)))
    borders = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=10)))
    pieces = [answer[a:b] for a, b in itertools.pairwise([0, *borders, len(answer)])]
    thinking = data.draw(st.booleans())
    chat_format = template_format(name, THINK)
    whole = joined(deltas(chat_format, [answer], thinking=thinking))
    assert joined(deltas(chat_format, pieces, thinking=thinking)) == whole


@pytest.mark.parametrize("name", all_formats())
@settings(max_examples=50)
@given(text=st.text(max_size=60), cut=st.integers(0, 60))
def test_text_without_markers_is_passed_on_as_it_is(name: str, text: str, cut: int) -> None:
    chat_format = template_format(name, THINK)
    assume(not any(marker in text for marker in (*chat_format.markers, *THINK)))
    for names in (NAMES, {}):
        message = joined(deltas(chat_format, [text[:cut], text[cut:]], names))
        assert message.text == text


@pytest.mark.parametrize("name", all_formats())
def test_text_is_not_held_back_without_need(name: str) -> None:
    """Only white space waits, which may be a marker's, and what may become one."""
    shown = ""
    answer = "It is 1 < 2, and [so] on: a|b."
    for count, delta in enumerate(deltas(template_format(name, THINK), answer)[:-1], start=1):
        shown += delta.text
        assert re.fullmatch(r"\s*([<\[{].{0,2})?\s*", answer[len(shown) : count])
    assert shown == answer


@pytest.mark.parametrize(("name", "answer"), [(n, a) for n in INVALID for a in INVALID[n]])
def test_what_is_no_call_is_reported_whole(name: str, answer: str) -> None:
    for pieces in cuts(answer):
        message = joined(deltas(template_format(name), pieces))
        assert not message.tool_calls
        (invalid,) = message.invalid_tool_calls
        assert invalid.text.strip() == answer.strip()
        assert invalid.error.endswith(".")


@pytest.mark.parametrize("name", all_formats())
def test_malformed_answers_lose_no_word(name: str) -> None:
    """5,000 in all; each word of an answer is text, reasoning, or part of some call."""
    chance = random.Random(name)
    chat_format = template_format(name, THINK)
    good = [written(name, [call]) for call in CALLS]
    for _ in range(5_000 // len(all_formats()) + 1):
        answer = damaged(chance, [*good, *MARKUP[name.split()[0]], "<think>", "</think>"])
        pieces, rest = [], answer
        while rest:
            size = chance.choice((1, 2, 3, 8, 40))
            pieces.append(rest[:size])
            rest = rest[size:]
        message = joined(deltas(chat_format, pieces, thinking=chance.random() < 0.2))
        kept = [message.text, message.reasoning]
        kept += [call.name + call.arguments for call in message.tool_calls]
        kept += [call.text for call in message.invalid_tool_calls]
        everything = "\n".join(kept)
        for word in re.findall(r"w\d+w", answer):
            assert word in everything, answer
        for call in message.tool_calls:
            assert isinstance(json.loads(call.arguments), dict)


def damaged(chance: random.Random, parts: list[str]) -> str:
    """Parts with words between, of which some characters are missing or twice."""
    text = ""
    for index in range(chance.randint(1, 6)):
        part = chance.choice(parts)
        for _ in range(chance.choice((0, 0, 1, 3))):
            at = chance.randrange(len(part) + 1)
            part = (
                part[:at] + chance.choice(("", part[at : at + 3], '"', "}", "{")) + part[at + 1 :]
            )
        text += f"{part} w{index}w " if chance.random() < 0.7 else part
    return text
