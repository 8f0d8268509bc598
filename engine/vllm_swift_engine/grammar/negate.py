"""What it means that a schema does not hold: one of its keywords does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from vllm_swift_engine.errors import UnsupportedSchemaError

from . import keywords
from .document import Document, Node
from .facts import TYPES, Atom
from .formats import format_language


@dataclass(frozen=True)
class Excluded:
    """Stands for a schema: none of these values."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Lacking:
    """Stands for a schema: a string without a match."""

    pattern: str


_Option = list[Atom]


@dataclass(frozen=True)
class Fractional:
    """Stands for a schema: a number that is no integer."""


def negation(
    atom: Atom, document: Document, overlap: Callable[[Node, Node], bool]
) -> list[_Option]:
    """Alternatives, one of which holds where the schema does not.

    Raises:
        UnsupportedSchemaError: a keyword of it has a negation that cannot be enforced.
    """
    value = atom.node.value
    if document.lonely_ref and "$ref" in value:
        value = {"$ref": value["$ref"]}
    found: list[_Option] = []
    for keyword in value:
        rule = _RULES.get(keyword)
        if rule is not None:
            found += rule(_Negated(atom, keyword, document, overlap))
        elif keyword in _REFUSED and not _says_nothing(keyword, value[keyword]):
            raise UnsupportedSchemaError(*atom.blame, f"{keyword!r} in it cannot be negated.")
    return found


_REFUSED = (
    "items",
    "additionalProperties",
    "patternProperties",
    "propertyNames",
    "uniqueItems",
    "unevaluatedItems",
    "unevaluatedProperties",
    "dependencies",
)


def _says_nothing(keyword: str, value: Any) -> bool:
    return value is False if keyword == "uniqueItems" else value is True or value == {}


@dataclass(frozen=True)
class _Negated:
    """One keyword of a schema that does not hold."""

    atom: Atom
    keyword: str
    document: Document
    overlap: Callable[[Node, Node], bool]

    @property
    def node(self) -> Node:
        return self.atom.node

    def made(self, value: Any, name: str = "") -> Atom:
        node = self.node.made(value, f"not {self.keyword}#{name}", self.atom.blame)
        return Atom(node, True, self.atom.blame)

    def that(self, node: Node, positive: bool) -> Atom:
        return Atom(node, positive, self.atom.blame, (self.node.path,))

    def refuse(self) -> UnsupportedSchemaError:
        return UnsupportedSchemaError(
            *self.atom.blame, f"{self.keyword!r} in it cannot be negated."
        )


def _type(its: _Negated) -> list[_Option]:
    given = keywords.types(its.node)
    others = [one for one in TYPES if one not in given]
    found: list[_Option] = []
    if "integer" in given and "number" in others:
        others.remove("number")
        found.append([its.made(Fractional(), "integer")])
    return [[its.made({"type": others})], *found] if others else found


def _values(its: _Negated) -> list[_Option]:
    value = its.node.value[its.keyword]
    values = (value,) if its.keyword == "const" else tuple(value)
    return [[its.made(Excluded(values))]]


def _bound(opposite: str) -> Callable[[_Negated], list[_Option]]:
    def rule(its: _Negated) -> list[_Option]:
        keywords.number(its.node, its.keyword)
        return [[its.made({"type": "number", opposite: its.node.value[its.keyword]})]]

    return rule


def _count(type_name: str, opposite: str) -> Callable[[_Negated], list[_Option]]:
    def rule(its: _Negated) -> list[_Option]:
        count = keywords.count(its.node, its.keyword)
        if opposite.startswith("min"):
            return [[its.made({"type": type_name, opposite: count + 1})]]
        return [[its.made({"type": type_name, opposite: count - 1})]] if count else []

    return rule


def _pattern(its: _Negated) -> list[_Option]:
    return [[its.made(Lacking(its.node.value["pattern"]))]]


def _format(its: _Negated) -> list[_Option]:
    language = format_language(its.node.value["format"])
    # A format that is an annotation alone always holds.
    if language is None or language:
        raise its.refuse()
    return []


def _required(its: _Negated) -> list[_Option]:
    names = keywords.strings(its.node, "required")
    return [[its.made({"type": "object", "properties": {name: False}}, name)] for name in names]


def _properties(its: _Negated) -> list[_Option]:
    return [
        [
            its.made(
                {
                    "type": "object",
                    "required": [name],
                    "properties": {name: _opposite(child, its.atom.blame)},
                },
                name,
            )
        ]
        for name, child in keywords.named(its.node, "properties").items()
        if child.value is not True and child.value != {}
    ]


def _opposite(child: Node, blame: tuple[str, str]) -> Node:
    return child.made({"not": child}, "not", blame)


def _prefix_items(its: _Negated) -> list[_Option]:
    found = []
    for index, child in enumerate(keywords.schemas(its.node, "prefixItems")):
        prefix = [True] * index + [_opposite(child, its.atom.blame)]
        shape = {"type": "array", "minItems": index + 1, "prefixItems": prefix}
        found.append([its.made(shape, str(index))])
    return found


def _contains(its: _Negated) -> list[_Option]:
    if "minContains" in its.node.value or "maxContains" in its.node.value:
        raise its.refuse()
    child = keywords.schema(its.node, "contains")
    return [[its.made({"type": "array", "items": _opposite(child, its.atom.blame)})]]


def _dependent_required(its: _Negated) -> list[_Option]:
    found = []
    for name, needs in its.node.value["dependentRequired"].items():
        for need in needs:
            shape = {"type": "object", "required": [name], "properties": {need: False}}
            found.append([its.made(shape, f"{name}#{need}")])
    return found


def _dependent_schemas(its: _Negated) -> list[_Option]:
    return [
        [its.made({"type": "object", "required": [name]}, name), its.that(child, False)]
        for name, child in keywords.named(its.node, "dependentSchemas").items()
    ]


def _all_of(its: _Negated) -> list[_Option]:
    return [[its.that(child, False)] for child in keywords.schemas(its.node, "allOf")]


def _any_of(its: _Negated) -> list[_Option]:
    return [[its.that(child, False) for child in keywords.schemas(its.node, "anyOf")]]


def _one_of(its: _Negated) -> list[_Option]:
    options = keywords.schemas(its.node, "oneOf")
    pairs = [*combinations(range(len(options)), 2)]
    if len(pairs) > 50:
        raise its.refuse()
    both = [(a, b) for a, b in pairs if its.overlap(options[a], options[b])]
    none = [its.that(child, False) for child in options]
    return [none, *([its.that(options[a], True), its.that(options[b], True)] for a, b in both)]


def _not(its: _Negated) -> list[_Option]:
    return [[its.that(keywords.schema(its.node, "not"), True)]]


def _if(its: _Negated) -> list[_Option]:
    condition = keywords.schema(its.node, "if")
    found = []
    for name, positive in (("then", True), ("else", False)):
        if name in its.node.value:
            branch = keywords.schema(its.node, name)
            found.append([its.that(condition, positive), its.that(branch, False)])
    return found


def _ref(its: _Negated) -> list[_Option]:
    return [[its.that(its.document.target(its.node, its.keyword), False)]]


def _never(its: _Negated) -> list[_Option]:
    raise its.refuse()


_RULES: Mapping[str, Callable[[_Negated], list[_Option]]] = {
    "$ref": _ref,
    "$dynamicRef": _ref,
    "type": _type,
    "const": _values,
    "enum": _values,
    "minimum": _bound("exclusiveMaximum"),
    "maximum": _bound("exclusiveMinimum"),
    "exclusiveMinimum": _bound("maximum"),
    "exclusiveMaximum": _bound("minimum"),
    "multipleOf": _never,
    "minLength": _count("string", "maxLength"),
    "maxLength": _count("string", "minLength"),
    "pattern": _pattern,
    "format": _format,
    "minItems": _count("array", "maxItems"),
    "maxItems": _count("array", "minItems"),
    "minProperties": _count("object", "maxProperties"),
    "maxProperties": _count("object", "minProperties"),
    "required": _required,
    "properties": _properties,
    "prefixItems": _prefix_items,
    "contains": _contains,
    "dependentRequired": _dependent_required,
    "dependentSchemas": _dependent_schemas,
    "allOf": _all_of,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "not": _not,
    "if": _if,
}
