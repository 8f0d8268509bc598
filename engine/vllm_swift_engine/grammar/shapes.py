"""One branch of a schema as the values it allows: what is emitted as one simple schema each."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from vllm_swift_engine.errors import UnsupportedSchemaError

from . import charset, numbers
from .arrays import ArrayShape, array_shapes
from .automaton import distance, matches
from .expand import Expander
from .facts import Facts, ScalarKey, Text, scalar_key
from .language import of_length
from .objects import ObjectShape, object_shapes
from .regex import Chars, Repeat, UnsupportedRegexError
from .regex_text import texts

#: Up to here, an upper bound of the length is part of looking whether any string is left.
_SHORT = 300
#: Longer strings are not looked for among several regexes; they are made one.
_NEAR = 16


@dataclass
class Shape:
    """Values of any kind. Where ``anything`` holds, the rest is not looked at."""

    anything: bool = False
    scalars: list[Any] = field(default_factory=list)
    simple: list[dict[str, Any]] = field(default_factory=list)
    arrays: list[ArrayShape] = field(default_factory=list)
    objects: list[ObjectShape] = field(default_factory=list)


def shape_of(facts: Facts, expander: Expander, closed: bool) -> Shape:
    """What one branch allows.

    ``closed`` is vLLM's ``disable_additional_properties``.

    Raises:
        UnsupportedSchemaError: a keyword cannot be enforced.
    """
    shape = Shape()
    if facts.impossible:
        return shape
    if facts.scalars is not None:
        shape.scalars = [value for key, value in facts.scalars.items() if _allowed(facts, key)]
        for value in shape.scalars:
            _writable(value, facts.scalar_source)
        return shape
    if facts == Facts():
        return Shape(anything=True)
    if "null" in facts.types and ("null", None) not in facts.excluded:
        shape.simple.append({"type": "null"})
    if "boolean" in facts.types:
        left = [value for value in (True, False) if ("boolean", value) not in facts.excluded]
        if len(left) == 2:
            shape.simple.append({"type": "boolean"})
        shape.scalars += left if len(left) == 1 else []
    if "number" in facts.types:
        shape.simple += _numbers(facts)
    if "string" in facts.types:
        shape.simple += _strings(facts)
    if "array" in facts.types:
        shape.arrays = array_shapes(facts, expander, finite)
    if "object" in facts.types:
        shape.objects = object_shapes(facts, expander, closed)
    return shape


def finite(expander: Expander, conj: Any) -> list[Any] | None:
    """The values of a conjunction that allows only some scalars; None where there are others."""
    found: dict[ScalarKey, Any] = {}
    for facts in expander.branches(conj):
        if facts.impossible:
            continue
        values: list[Any]
        if facts.scalars is not None:
            values = [*facts.scalars.values()]
        elif facts.types <= {"null", "boolean"}:
            values = [None] * ("null" in facts.types)
            values += [True, False] * ("boolean" in facts.types)
        else:
            return None
        for value in values:
            if _allowed(facts, scalar_key(value)):
                found[scalar_key(value)] = value
    return [*found.values()]


def _allowed(facts: Facts, key: ScalarKey) -> bool:
    kind, value = key
    if kind not in facts.types or key in facts.excluded:
        return False
    if kind == "number":
        return value in facts.number and not (facts.fractional and value.denominator == 1)
    if kind == "string":
        text = facts.text
        fits = text.low <= len(value) and (text.high is None or len(value) <= text.high)
        try:
            return fits and matches(text.language, value)
        except UnsupportedRegexError as error:
            raise UnsupportedSchemaError(*facts.text_source, f"{error}.") from error
    return True


def _writable(value: Any, source: tuple[str, str]) -> None:
    """Refuses a value that JSON text could hold, and no grammar here writes exactly."""
    if isinstance(value, str):
        for char in value:
            if not charset.contains(charset.WRITABLE, char):
                raise UnsupportedSchemaError(*source, f"the control character {char!r} in a value.")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        number = Fraction(value)
        whole = number.denominator == 1
        exact = abs(number) <= numbers.EXACT if whole else numbers.digits(value) <= numbers.DIGITS
        if not exact or 0 < abs(number) < 1e-15:
            raise UnsupportedSchemaError(*source, f"{value!r} has too many digits.")


def _numbers(facts: Facts) -> list[dict[str, Any]]:
    if facts.fractional is not None:
        step = facts.number.step
        if facts.number.integral or (step is not None and step.denominator == 1):
            return []
        reason = "numbers that are no integers cannot be told apart."
        raise UnsupportedSchemaError(*facts.fractional, reason)
    excluded = [value for (kind, _), value in facts.excluded.items() if kind == "number"]
    try:
        found = [numbers.bounds(part) for part in numbers.apart(facts.number, excluded)]
    except numbers.StepError:
        reason = "it is larger than 1000, and not between bounds that are near."
        raise UnsupportedSchemaError(*facts.step_source, reason) from None
    except OverflowError:
        reason = "numbers of so many digits cannot be held."
        raise UnsupportedSchemaError(*facts.number_source, reason) from None
    return [one for one in found if one is not None]


def _strings(facts: Facts) -> list[dict[str, Any]]:
    text = facts.text
    found: dict[str, Any] = {"type": "string"}
    if text.low:
        found["minLength"] = text.low
    if text.high is not None:
        found["maxLength"] = text.high
        if text.high < text.low:
            return []
    if not text.language:
        return [found]
    try:
        return _matching(text, found)
    except UnsupportedRegexError as error:
        raise UnsupportedSchemaError(*facts.text_source, f"{error}.") from error


def _matching(text: Text, found: dict[str, Any]) -> list[dict[str, Any]]:
    """Strings of a language. llguidance looks, in so many steps, whether any is left of several."""
    language = text.language
    tree = language.include[0] if len(language.include) == 1 and not language.exclude else None
    plain = isinstance(tree, Repeat) and isinstance(tree.item, Chars) and tree.high is None
    if (not text.low and text.high is None and tree is not None) or plain:
        patterns = texts(language)
        return [] if patterns is None else [{**found, "pattern": patterns[0]}]
    high = text.high if text.high is not None and text.high <= _SHORT else None
    if text.low or high is not None:
        language &= of_length(text.low, high)
    near = distance(language)
    if near is None:
        return []
    if text.low > _NEAR or near > _NEAR * _NEAR:
        single = texts(language, single=True)
        left = {"type": "string"} if high is not None else found
        left.pop("minLength", None)
        return [] if single is None else [{**left, "pattern": single[0]}]
    patterns = texts(text.language)
    if patterns is None:
        return []
    if len(patterns) == 1:
        return [{**found, "pattern": patterns[0]}]
    parts = [{"type": "string", "pattern": pattern} for pattern in patterns]
    return [{"allOf": [*parts, found]}] if len(found) > 1 else [{"allOf": parts}]
