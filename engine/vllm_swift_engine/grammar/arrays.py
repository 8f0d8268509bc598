"""Arrays of one branch: items by position, as alternatives where positions depend on each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from vllm_swift_engine.errors import UnsupportedSchemaError

from .document import Node
from .expand import Expander, unique
from .facts import Atom, Conj, Contains, Facts

#: Alternatives that one array may become.
_MAX_SHAPES = 400
_MAX_CONTAINS = 8


@dataclass(frozen=True)
class ArrayShape:
    """Items at the start, each with its own schemas, then ``rest``; None is no upper bound."""

    prefix: tuple[Conj, ...]
    rest: Conj
    low: int
    high: int | None


Finite = Callable[[Expander, Conj], "list[Any] | None"]


def array_shapes(facts: Facts, expander: Expander, finite: Finite) -> list[ArrayShape]:
    """The arrays that the facts allow.

    Raises:
        UnsupportedSchemaError: ``uniqueItems`` or ``contains`` of arrays that are too many.
    """
    size = max((len(layer.prefix) for layer in facts.arrays), default=0)
    prefix = tuple(_item(facts, index) for index in range(size))
    shape = ArrayShape(prefix, _item(facts, size), facts.min_items, facts.max_items)
    asked = [one for one in facts.contains if one.low > 0 or one.high is not None]
    shapes = [shape] if shape.high is None or shape.low <= shape.high else []
    for contains in asked:
        shapes = [one for each in shapes for one in _containing(each, contains)]
    if facts.unique is None:
        return shapes
    return [one for each in shapes for one in _distinct(each, facts, expander, finite)]


def _item(facts: Facts, index: int) -> Conj:
    found: list[Atom] = []
    for layer in facts.arrays:
        if index < len(layer.prefix):
            found.append(layer.prefix[index])
        elif layer.rest is not None:
            found.append(layer.rest)
    return unique(found)


def _at(shape: ArrayShape, index: int) -> Conj:
    return shape.prefix[index] if index < len(shape.prefix) else shape.rest


def _containing(shape: ArrayShape, asked: Contains) -> Iterator[ArrayShape]:
    """Which positions hold what is asked for; the others do not, where they are counted."""
    if shape.high is None or shape.high > _MAX_CONTAINS:
        reason = f"it is enforced where maxItems is at most {_MAX_CONTAINS}."
        raise UnsupportedSchemaError("contains", asked.path, reason)
    high = asked.low if asked.high is None else min(asked.high, shape.high)
    for count in range(asked.low, high + 1):
        for chosen in combinations(range(shape.high), count):
            prefix = []
            for index in range(shape.high):
                item = asked.item._replace(positive=index in chosen)
                known = _at(shape, index)
                counted = index in chosen or asked.high is not None
                prefix.append(unique([*known, item]) if counted else known)
            low = max(shape.low, chosen[-1] + 1 if chosen else 0)
            yield ArrayShape(tuple(prefix), shape.rest, low, shape.high)


def _distinct(
    shape: ArrayShape, facts: Facts, expander: Expander, finite: Finite
) -> list[ArrayShape]:
    """The arrays of different items, one by one, unless they differ anyway."""
    if shape.high is not None and shape.high <= 1:
        return [shape]
    last = len(shape.prefix) + 1 if shape.high is None else shape.high
    domains: list[list[Any]] = []
    for index in range(min(last, len(shape.prefix) + 1)):
        domain = finite(expander, _at(shape, index))
        if domain is None:
            raise _not_unique(facts)
        domains.append(domain)
    if shape.high is None and not domains[-1]:
        return _distinct(replace(shape, high=len(shape.prefix)), facts, expander, finite)
    found: list[ArrayShape] = []
    todo: list[tuple[Any, ...]] = [()]
    while todo:
        values = todo.pop()
        if len(values) >= shape.low:
            prefix = tuple(_constant(value, facts) for value in values)
            found.append(ArrayShape(prefix, (), len(values), len(values)))
        if len(found) + len(todo) > _MAX_SHAPES:
            raise _not_unique(facts)
        if shape.high is not None and len(values) >= shape.high:
            continue
        domain = domains[min(len(values), len(domains) - 1)]
        todo += [
            (*values, value)
            for value in reversed(domain)
            if not any(_same(value, v) for v in values)
        ]
    return found


def _same(left: Any, right: Any) -> bool:
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def _constant(value: Any, facts: Facts) -> Conj:
    source = ("uniqueItems", facts.unique or "")
    return (Atom(Node({"const": value}, f"\0const {value!r}", source)),)


def _not_unique(facts: Facts) -> UnsupportedSchemaError:
    reason = f"it is enforced where there are at most {_MAX_SHAPES} arrays in all, as of an enum."
    return UnsupportedSchemaError("uniqueItems", facts.unique or "", reason)
