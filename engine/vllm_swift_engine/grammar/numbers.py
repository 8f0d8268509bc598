"""Intervals of numbers as the bounds of one JSON schema that llguidance keeps exactly.

It holds bounds as float64 and enumerates digits: an open bound would let 4.999... through, which
parsers round to 5, and reads the last of 16 digits wrongly. So bounds are closed, and moved inwards
to the next number of 15 digits. Where that would take hundreds of digits, they stay 1e-15 away from
0 and within 1e15.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction
from typing import Any

from .facts import Interval

#: Digits of a number that any parser reads as the nearest float64.
DIGITS = 15
_UP = Context(prec=DIGITS, rounding=ROUND_CEILING)
_LARGEST = 10**15
#: llguidance has a state for each remainder.
_LARGEST_STEP = 1000
_MOST_LISTED = 500
_SMALLEST = 1e-15
#: The largest float64 that is a 64-bit integer.
_LARGEST_INTEGER = 2**63 - 1024
#: Integers up to here are float64 themselves.
EXACT = 2**53


class StepError(ValueError):
    """A ``multipleOf`` that takes too many states."""


def apart(interval: Interval, excluded: Iterable[Any]) -> list[Interval]:
    """The interval without some values."""
    parts = [interval]
    for value in sorted(Fraction(one) for one in excluded):
        split = []
        for part in parts:
            if value not in part:
                split.append(part)
                continue
            below, above = replace(part), replace(part)
            below.at_most(value, True)
            above.at_least(value, True)
            split += [below, above]
        parts = split
    return parts


def bounds(interval: Interval) -> dict[str, Any] | None:
    """The keywords of a schema; None where the interval holds no number.

    Raises:
        OverflowError: all its numbers are too large.
        StepError: its step is too large, and it has too many numbers to list them.
    """
    if interval.integral or (interval.step is not None and interval.step.denominator == 1):
        return _integers(interval)
    return _floats(interval)


def _integers(interval: Interval) -> dict[str, Any] | None:
    low, high = interval.low, interval.high
    first = None if low is None else math.floor(low) + 1 if interval.low_open else math.ceil(low)
    last = None if high is None else math.ceil(high) - 1 if interval.high_open else math.floor(high)
    step = interval.step
    if step is not None and step.denominator != 1:
        step = Fraction(step.numerator)  # the integers among the multiples of p/q, reduced
    if first is not None and first > 10**18 and last is None:
        last = _LARGEST_INTEGER
    if last is not None and last < -(10**18) and first is None:
        first = -_LARGEST_INTEGER
    first, last = _inwards(first, up=True), _inwards(last, up=False)
    if step is not None and step > _LARGEST_STEP:
        return _listed(step.numerator, first, last)
    if first is not None and last is not None:
        if first > last:
            return None
        if step is not None and math.floor(last / step) * step < first:
            return None
    found: dict[str, Any] = {"type": "integer"}
    if step is not None and step != 1:
        found["multipleOf"] = step.numerator
    if first is not None:
        found["minimum"] = first
    if last is not None:
        found["maximum"] = last
    return found


def _listed(step: int, first: int | None, last: int | None) -> dict[str, Any] | None:
    if first is None or last is None or (last - first) // step > _MOST_LISTED:
        raise StepError
    values = [*range(-(-first // step) * step, last + 1, step)]
    return {"enum": values} if values else None


def _inwards(bound: int | None, up: bool) -> int | None:
    if bound is None:
        return None
    if (bound > _LARGEST_INTEGER) if up else (bound < -_LARGEST_INTEGER):
        raise OverflowError
    bound = max(min(bound, _LARGEST_INTEGER), -_LARGEST_INTEGER)
    near = float(bound)
    if (near < bound) if up else (near > bound):
        near = math.nextafter(near, math.inf if up else -math.inf)
    return int(near)


def _floats(interval: Interval) -> dict[str, Any] | None:
    low = None if interval.low is None else _closed(interval.low, interval.low_open)
    high = None if interval.high is None else -_closed(-interval.high, interval.high_open)
    if low is not None and high is not None and low > high:
        return None
    found: dict[str, Any] = {"type": "number"}
    step = interval.step
    if step is not None:
        if step.numerator > _LARGEST_STEP:
            raise StepError
        if low is not None and high is not None:
            first = math.ceil(Fraction(low) / step) * step
            if first > Fraction(high):
                return None
        found["multipleOf"] = float(step)
    if low is not None:
        found["minimum"] = low
    if high is not None:
        found["maximum"] = high
    return found


def _closed(bound: Fraction, is_open: bool) -> float:
    """The least number to allow above a lower bound."""
    if bound > _LARGEST:
        raise OverflowError
    if bound <= -_LARGEST:
        return float(-_LARGEST)
    if bound == 0:
        return _SMALLEST if is_open else 0.0
    near = float(bound)
    given = (
        Decimal(repr(near))
        if Fraction(near) == bound
        else _UP.divide(*map(Decimal, bound.as_integer_ratio()))
    )
    rounded = _UP.plus(given)
    result = float(_UP.next_plus(rounded) if is_open and rounded == given else rounded)
    if 0 < result < _SMALLEST:
        return _SMALLEST
    return 0.0 if -_SMALLEST < result < 0 else result


def digits(value: float) -> int:
    """The decimal digits that a number is written with."""
    return len(Decimal(repr(value)).normalize().as_tuple().digits)
