"""Sets of Unicode scalar values, as sorted ranges that do not touch."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from vllm_swift_engine.errors import InvalidGrammarError

#: Pairs of first and last code point.
CharSet = tuple[tuple[int, int], ...]

LAST = sys.maxunicode


def union(*sets: Iterable[tuple[int, int]]) -> CharSet:
    """What is in any of the sets; ranges may come in any order."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(pair for ranges in sets for pair in ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def complement(ranges: CharSet) -> CharSet:
    """Every scalar value that is not in the set."""
    result = []
    start = 0
    for low, high in ranges:
        if start < low:
            result.append((start, low - 1))
        start = high + 1
    if start <= LAST:
        result.append((start, LAST))
    return tuple(result)


def intersect(left: CharSet, right: CharSet) -> CharSet:
    return complement(union(complement(left), complement(right)))


def without(left: CharSet, right: CharSet) -> CharSet:
    return intersect(left, complement(right))


def chars(text: str) -> CharSet:
    return union((ord(char), ord(char)) for char in text)


def contains(ranges: CharSet, char: str) -> bool:
    return any(low <= ord(char) <= high for low, high in ranges)


_SURROGATES: CharSet = ((0xD800, 0xDFFF),)
ANY = complement(_SURROGATES)
#: What a JSON string can hold without ``\uXXXX``, which no grammar here allows.
WRITABLE = without(ANY, union(((0x00, 0x07), (0x0B, 0x0B), (0x0E, 0x1F), (0x7F, 0x7F))))

DIGIT = chars("0123456789")
WORD = union(((0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A), (0x5F, 0x5F)))
#: White space to ECMAScript and to Python; to one of them.
SPACE = union(chars("\t\n\v\f\r \xa0\u1680\u2028\u2029\u202f\u205f\u3000"), ((0x2000, 0x200A),))
SOME_SPACE = union(SPACE, chars("\x1c\x1d\x1e\x1f\x85\ufeff"))
LINE_ENDS = chars("\n\r\u2028\u2029")


@lru_cache(maxsize=64)
def category(name: str) -> CharSet:
    """The characters of a general category: ``L``, ``Nd`` ...

    Raises:
        InvalidGrammarError: there is none of that name.
    """
    found: list[tuple[int, int]] = []
    for code in range(LAST + 1):
        if unicodedata.category(chr(code)).startswith(name):
            if found and found[-1][1] == code - 1:
                found[-1] = (found[-1][0], code)
            else:
                found.append((code, code))
    if not found:
        raise InvalidGrammarError(f"there is no Unicode category {name!r}")
    return intersect(tuple(found), ANY)


#: No letter, mark or number to any dialect. Not all such characters, so that sets stay small.
_SYMBOLS = union(
    without(((0x00, 0xA0),), WORD),
    chars(
        "\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xab\xac\xad\xae\xaf\xb0\xb1\xb4\xb6\xb7\xb8\xbb\xbf\xd7\xf7"
    ),
    ((0x2000, 0x200B), (0x2010, 0x203E), (0x2041, 0x2053), (0x2055, 0x2064), (0x20A0, 0x20BF)),
    ((0x2190, 0x245F), (0x2500, 0x2775), (0x2794, 0x2BFF)),
    ((0x3000, 0x3004), (0x3008, 0x3020), (0xFF01, 0xFF0F), (0x1F300, 0x1FAFF)),
)
#: Word characters to any dialect, and some others.
SOME_WORD = without(ANY, _SYMBOLS)
#: Where the decimal digits of Unicode end.
_LAST_DIGIT = 0x1FFFF


@lru_cache(maxsize=1)
def some_digit() -> CharSet:
    """Digits to any dialect."""
    codes = (code for code in range(_LAST_DIGIT) if unicodedata.category(chr(code)) == "Nd")
    return union((code, code) for code in codes)
