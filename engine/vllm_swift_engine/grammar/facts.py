"""What one branch of a schema asks of a value, type by type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import gcd
from typing import Any, NamedTuple

from .document import Node
from .language import Language

TYPES = ("null", "boolean", "number", "string", "array", "object")


class Atom(NamedTuple):
    """A schema that holds, or that does not. ``blame`` is who asked for the negation."""

    node: Node
    positive: bool = True
    blame: tuple[str, str] = ("not", "")
    #: The schemas it stands in at the same place; those with unevaluated keywords are scopes.
    inside: tuple[str, ...] = ()
    #: It follows from a negation, so that nothing counts as evaluated by it.
    silent: bool = False

    @property
    def key(self) -> tuple[str, bool]:
        return self.node.path, self.positive


#: All of these hold.
Conj = tuple[Atom, ...]
#: JSON's equality: 1 and 1.0 are one value, 1 and true are two.
ScalarKey = tuple[str, Any]


def scalar_key(value: Any) -> ScalarKey:
    if value is None or isinstance(value, (bool, str)):
        return type_of(value), value
    return "number", Fraction(value)


def type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, Mapping):
        return "object"
    return "array" if isinstance(value, (list, tuple)) else "number"


@dataclass
class Interval:
    """Numbers; None is no bound. All integers where ``integral``."""

    low: Fraction | None = None
    high: Fraction | None = None
    low_open: bool = False
    high_open: bool = False
    integral: bool = False
    step: Fraction | None = None

    def at_least(self, bound: Fraction, is_open: bool) -> None:
        if self.low is None or (bound, is_open) > (self.low, self.low_open):
            self.low, self.low_open = bound, is_open

    def at_most(self, bound: Fraction, is_open: bool) -> None:
        if self.high is None or (-bound, is_open) > (-self.high, self.high_open):
            self.high, self.high_open = bound, is_open

    def multiple_of(self, step: Fraction) -> None:
        if self.step is not None:
            top = abs(self.step.numerator * step.numerator) // gcd(
                self.step.numerator, step.numerator
            )
            step = Fraction(top, gcd(self.step.denominator, step.denominator))
        self.step = step

    def __contains__(self, value: Fraction) -> bool:
        low = self.low is None or value > self.low or (value == self.low and not self.low_open)
        high = self.high is None or value < self.high or (value == self.high and not self.high_open)
        whole = not self.integral or value.denominator == 1
        return (
            low and high and whole and (self.step is None or (value / self.step).denominator == 1)
        )


@dataclass
class Text:
    """Strings, by their code points."""

    low: int = 0
    high: int | None = None
    language: Language = field(default_factory=Language)


@dataclass(frozen=True)
class ArrayLayer:
    """``prefixItems`` and ``items`` of one schema."""

    prefix: tuple[Atom, ...]
    rest: Atom | None
    inside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contains:
    """``contains``, ``minContains`` and ``maxContains`` of one schema."""

    item: Atom
    low: int
    high: int | None
    path: str


@dataclass(frozen=True)
class ObjectLayer:
    """``properties``, ``patternProperties`` and ``additionalProperties`` of one schema."""

    properties: dict[str, Atom]
    patterns: dict[str, Atom]
    rest: Atom | None
    path: str
    inside: tuple[str, ...] = ()


@dataclass
class Facts:
    """All that has to hold at once, where no choice is left."""

    types: set[str] = field(default_factory=lambda: set(TYPES))
    #: The only values there may be, of types that are neither array nor object; None is any.
    scalars: dict[ScalarKey, Any] | None = None
    excluded: dict[ScalarKey, Any] = field(default_factory=dict)
    number: Interval = field(default_factory=Interval)
    text: Text = field(default_factory=Text)
    #: Who asks for numbers that are no integers.
    fractional: tuple[str, str] | None = None
    number_source: tuple[str, str] = ("minimum", "")
    step_source: tuple[str, str] = ("multipleOf", "")
    #: Where a format or pattern came from, for what is said when they are too much together.
    text_source: tuple[str, str] = ("pattern", "")
    min_items: int = 0
    max_items: int | None = None
    unique: str | None = None
    contains: list[Contains] = field(default_factory=list)
    arrays: list[ArrayLayer] = field(default_factory=list)
    min_properties: int = 0
    max_properties: int | None = None
    count_source: tuple[str, str] = ("minProperties", "")
    required: dict[str, None] = field(default_factory=dict)
    names: list[Atom] = field(default_factory=list)
    names_source: str = ""
    objects: list[ObjectLayer] = field(default_factory=list)
    #: ``unevaluatedItems`` and ``unevaluatedProperties``: the scope, the keyword, the schema.
    unevaluated: list[tuple[str, str, Atom]] = field(default_factory=list)
    #: Where the value set came from, for what is said of a value that cannot be written.
    scalar_source: tuple[str, str] = ("enum", "")
    #: The keyword that left nothing, and where it is.
    culprit: tuple[str, str] = ("", "")

    def copy(self) -> Facts:
        values: dict[str, Any] = {
            name: value.copy() if isinstance(value, (set, dict, list)) else value
            for name, value in vars(self).items()
        }
        values["number"] = Interval(**vars(self.number))
        values["text"] = Text(**vars(self.text))
        return Facts(**values)

    def only_types(self, types: Iterable[str], culprit: tuple[str, str]) -> None:
        self.types &= set(types)
        self._blame(culprit)

    def only_scalars(self, values: Iterable[Any], source: tuple[str, str]) -> None:
        given = {scalar_key(value): value for value in values}
        if self.scalars is not None:
            given = {key: value for key, value in given.items() if key in self.scalars}
        self.scalars, self.scalar_source = given, source
        self.only_types({key[0] for key in given}, source)

    def _blame(self, culprit: tuple[str, str]) -> None:
        if not self.types and not self.culprit[0]:
            self.culprit = culprit

    @property
    def impossible(self) -> bool:
        return not self.types
