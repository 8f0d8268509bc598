"""The keywords that narrow one type: read, checked, and written into facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from vllm_swift_engine.errors import InvalidGrammarError, UnsupportedSchemaError

from .automaton import matches
from .document import Node
from .facts import TYPES, Facts
from .formats import format_language
from .language import search, widest
from .regex import UnsupportedRegexError

#: No output is as long; a lower bound above it leaves nothing to write.
_MAX_LENGTH = 1_000_000


def wrong(node: Node, keyword: str, what: str) -> InvalidGrammarError:
    value = node.value[keyword]
    return InvalidGrammarError(
        f"{keyword} at {node.at(keyword)} must be {what}, not {value!r:.80}."
    )


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def number(node: Node, keyword: str) -> Fraction:
    if not is_number(node.value[keyword]):
        raise wrong(node, keyword, "a number")
    return Fraction(node.value[keyword])


def count(node: Node, keyword: str) -> int:
    """A length: an integer, also as 3.0."""
    value = node.value[keyword]
    if not is_number(value) or value < 0 or value != int(value):
        raise wrong(node, keyword, "an integer >= 0")
    if keyword.startswith("min") and value > _MAX_LENGTH:
        raise UnsupportedSchemaError(*node.where(keyword), f"it is more than {_MAX_LENGTH}.")
    return int(value)


def strings(node: Node, keyword: str) -> list[str]:
    value = node.value[keyword]
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, str) for one in value):
        raise wrong(node, keyword, "a list of strings")
    return [*value]


def schemas(node: Node, keyword: str) -> list[Node]:
    value = node.value[keyword]
    if not isinstance(value, (list, tuple)) or not value:
        raise wrong(node, keyword, "a list of schemas that is not empty")
    return [schema(node, keyword, index) for index in range(len(value))]


def schema(node: Node, *keys: str | int) -> Node:
    """A subschema.

    Raises:
        InvalidGrammarError: it is neither an object nor true or false.
    """
    child = node.child(*keys)
    if not isinstance(child.value, (bool, Mapping)):
        raise InvalidGrammarError(f"{child.path} must be a schema, not {child.value!r:.80}.")
    return child


def named(node: Node, keyword: str) -> dict[str, Node]:
    """The subschemas of a keyword that has names."""
    if not isinstance(node.value[keyword], Mapping):
        raise wrong(node, keyword, "an object of schemas")
    return {name: schema(node, keyword, name) for name in node.value[keyword]}


def types(node: Node) -> list[str]:
    value = node.value["type"]
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, (list, tuple)) or not given:
        raise wrong(node, "type", "the name of a type or a list of them")
    for one in given:
        if one not in (*TYPES, "integer"):
            raise wrong(node, "type", f"one of {', '.join(TYPES)} and integer")
    return [*given]


def _type(facts: Facts, node: Node) -> None:
    given = types(node)
    facts.only_types({"number" if one == "integer" else one for one in given}, node.where("type"))
    if "integer" in given and "number" not in given:
        facts.number.integral = True


def _bound(keyword: str) -> Callable[[Facts, Node], None]:
    def apply(facts: Facts, node: Node) -> None:
        narrow = facts.number.at_least if keyword.endswith("inimum") else facts.number.at_most
        narrow(number(node, keyword), keyword.startswith("exclusive"))
        facts.number_source = node.where(keyword)

    return apply


def _multiple_of(facts: Facts, node: Node) -> None:
    step = number(node, "multipleOf")
    if step <= 0:
        raise wrong(node, "multipleOf", "a number > 0")
    # 0.07 is no multiple of 0.01 to a validator that divides floats.
    if step.denominator > 2**10:
        reason = "only integers and sums of halves, quarters, ... are exact in floating point"
        raise UnsupportedSchemaError(*node.where("multipleOf"), f"{reason}.")
    facts.number.multiple_of(step)
    facts.step_source = node.where("multipleOf")


def _pattern(facts: Facts, node: Node) -> None:
    value = node.value["pattern"]
    if not isinstance(value, str):
        raise wrong(node, "pattern", "a regex")
    facts.text_source = node.where("pattern")
    facts.text.language &= regex(search, value, *facts.text_source)


def regex(read: Callable[[str], Any], pattern: str, keyword: str, path: str) -> Any:
    """What a reader of patterns makes of one, with its errors as those of the schema."""
    try:
        return read(pattern)
    except UnsupportedRegexError as error:
        raise UnsupportedSchemaError(keyword, path, f"{error}.") from error
    except InvalidGrammarError as error:
        raise InvalidGrammarError(f"{keyword} at {path}: {error}.") from error


def key_matches(pattern: str, name: str, path: str) -> bool:
    """Whether a name has a match of a key of ``patternProperties``."""
    narrow = regex(search, pattern, "patternProperties", path)
    wide = regex(widest, pattern, "patternProperties", path)
    found = matches(narrow, name)
    if found != matches(wide, name):
        reason = f"whether {name!r} matches {pattern!r} depends on the dialect."
        raise UnsupportedSchemaError("patternProperties", path, reason)
    return found


def _format(facts: Facts, node: Node) -> None:
    value = node.value["format"]
    if not isinstance(value, str):
        raise wrong(node, "format", "a string")
    language = format_language(value)
    facts.text_source = node.where("format")
    if language is None:
        raise UnsupportedSchemaError(*facts.text_source, f"{value!r} has no grammar.")
    facts.text.language &= language


def _lower(name: str, keyword: str, of: str = "") -> Callable[[Facts, Node], None]:
    def apply(facts: Facts, node: Node) -> None:
        target: Any = getattr(facts, of) if of else facts
        setattr(target, name, max(getattr(target, name), count(node, keyword)))
        if keyword == "minProperties":
            facts.count_source = node.where(keyword)

    return apply


def _upper(name: str, keyword: str, of: str = "") -> Callable[[Facts, Node], None]:
    def apply(facts: Facts, node: Node) -> None:
        target: Any = getattr(facts, of) if of else facts
        known, given = getattr(target, name), count(node, keyword)
        setattr(target, name, given if known is None else min(known, given))
        if keyword == "maxProperties":
            facts.count_source = node.where(keyword)

    return apply


def _unique(facts: Facts, node: Node) -> None:
    if not isinstance(node.value["uniqueItems"], bool):
        raise wrong(node, "uniqueItems", "true or false")
    if node.value["uniqueItems"]:
        facts.unique = node.at("uniqueItems")


def _required(facts: Facts, node: Node) -> None:
    facts.required |= dict.fromkeys(strings(node, "required"))


#: Each keyword that narrows one type, in the order of the vocabulary.
APPLY: dict[str, Callable[[Facts, Node], None]] = {
    "type": _type,
    "multipleOf": _multiple_of,
    "minimum": _bound("minimum"),
    "maximum": _bound("maximum"),
    "exclusiveMinimum": _bound("exclusiveMinimum"),
    "exclusiveMaximum": _bound("exclusiveMaximum"),
    "minLength": _lower("low", "minLength", "text"),
    "maxLength": _upper("high", "maxLength", "text"),
    "pattern": _pattern,
    "format": _format,
    "minItems": _lower("min_items", "minItems"),
    "maxItems": _upper("max_items", "maxItems"),
    "uniqueItems": _unique,
    "minProperties": _lower("min_properties", "minProperties"),
    "maxProperties": _upper("max_properties", "maxProperties"),
    "required": _required,
}
