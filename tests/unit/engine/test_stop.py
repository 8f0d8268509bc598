from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vllm_swift_engine.chat.stop import StopScanner


def scan(pieces: list[str], stops: list[str]) -> tuple[str, str | None]:
    scanner = StopScanner(stops)
    shown = "".join(scanner.push(piece) for piece in pieces)
    return shown + scanner.flush(), scanner.matched


def splits(text: str) -> list[list[str]]:
    """Every way to cut a text into pieces."""
    result = []
    for cuts in itertools.product([False, True], repeat=len(text) - 1):
        borders = [0, *(index + 1 for index, cut in enumerate(cuts) if cut), len(text)]
        result.append([text[a:b] for a, b in itertools.pairwise(borders)])
    return result


@pytest.mark.parametrize(
    ("text", "stops", "shown", "matched"),
    [
        ("one END two", ["END"], "one ", "END"),
        ("aab", ["ab"], "a", "ab"),
        ("ababac", ["abac"], "ab", "abac"),
        ("abcd", ["abcd", "bc"], "a", "bc"),
        ("xabc", ["bc", "abc"], "x", "abc"),
        ("END", ["END"], "", "END"),
        ("no stop E", ["END"], "no stop E", None),
        ("EEN", ["END"], "EEN", None),
        ("two\n\nlines", ["\n\n"], "two", "\n\n"),
        ("é😀.", ["😀"], "é", "😀"),
    ],
)
def test_every_split_gives_the_same(
    text: str, stops: list[str], shown: str, matched: str | None
) -> None:
    for pieces in splits(text):
        assert scan(pieces, stops) == (shown, matched), pieces


small = st.text(alphabet="ab\n", max_size=12)


@given(
    pieces=st.lists(small, max_size=8),
    stops=st.lists(st.text(alphabet="ab\n", min_size=1, max_size=4), max_size=3),
)
def test_the_result_is_the_text_before_the_first_complete_stop(
    pieces: list[str], stops: list[str]
) -> None:
    text = "".join(pieces)
    first = min((text.find(stop) + len(stop) for stop in stops if stop in text), default=None)
    if first is None:
        assert scan(pieces, stops) == (text, None)
    else:
        shown, matched = scan(pieces, stops)
        assert matched in stops
        assert text[:first] == shown + matched
        assert not any(stop in shown for stop in stops)


@given(text=small, stop=st.text(alphabet="ab\n", min_size=1, max_size=4))
def test_text_is_held_back_only_while_it_may_become_the_stop(text: str, stop: str) -> None:
    scanner = StopScanner([stop])
    shown = ""
    for length, character in enumerate(text, start=1):
        shown += scanner.push(character)
        if scanner.matched:
            return
        held = text[len(shown) : length]
        assert text[:length] == shown + held
        assert stop.startswith(held)
