"""Objects of one branch: properties by name, by pattern, and the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import combinations

from vllm_swift_engine.errors import UnsupportedSchemaError

from .automaton import is_empty, matches
from .expand import Expander, unique
from .facts import Atom, Conj, Facts
from .keywords import regex
from .language import Language, coarse, of_length, search, widest
from .regex import UnsupportedRegexError, literal
from .regex_text import whole_text

#: Optional properties whose combinations may be written out.
_MAX_OPTIONAL = 6
_NEVER = ("false", "")


@dataclass(frozen=True)
class ObjectShape:
    """Named properties in their order, then others; None is a property that may not be."""

    properties: dict[str, Conj | None]
    required: frozenset[str]
    #: Regexes of names that exclude each other.
    patterns: tuple[tuple[str, Conj | None], ...] = ()
    rest: Conj | None = ()
    #: Bounds of how many properties there are besides the named ones; ``low`` is 0 or 1.
    low: int = 0
    high: int | None = None


@dataclass
class _Names:
    """What ``propertyNames`` allows: some names, or a language; both None is any."""

    listed: list[str] | None = None
    language: Language | None = None
    source: tuple[str, str] = ("propertyNames", "")

    def allows(self, name: str) -> bool:
        if self.listed is not None:
            return name in self.listed
        return self.language is None or matches(self.language, name)


def object_shapes(facts: Facts, expander: Expander, closed: bool) -> list[ObjectShape]:
    """The objects that the facts allow.

    Raises:
        UnsupportedSchemaError: patterns overlap, or properties are counted among too many.
    """
    names = _names(facts, expander)
    rest = _rest(facts, closed)
    listed = dict.fromkeys(name for layer in facts.objects for name in layer.properties)
    wanted = [*listed, *(name for name in facts.required if name not in listed)]
    if names.listed is not None:
        wanted += [name for name in names.listed if name not in wanted]
    properties: dict[str, Conj | None] = {}
    for name in wanted:
        if names.allows(name):
            found = [_named(facts, expander, name, rest)]
            properties[name] = None if found[0] is None else found[0]
        else:
            properties[name] = None
    patterns: tuple[tuple[str, Conj | None], ...] = ()
    if names.listed is not None:
        rest = None
    else:
        patterns, rest = _others(facts, names, rest, wanted)
    shape = ObjectShape(properties, frozenset(facts.required), patterns, rest)
    if any(properties[name] is None for name in facts.required):
        return []
    if facts.min_properties == 0 and facts.max_properties is None:
        return [shape]
    return [*_counted(shape, facts)]


def _named(facts: Facts, expander: Expander, name: str, rest: Conj | None) -> Conj | None:
    known = any(expander.layer_property(layer, name) for layer in facts.objects)
    return expander.property(facts, name) if known or rest is not None else None


def _rest(facts: Facts, closed: bool) -> Conj | None:
    """What holds for names that no schema has; None where there may be none."""
    given = [layer.rest for layer in facts.objects if layer.rest is not None]
    names_some = any(layer.properties or layer.patterns for layer in facts.objects)
    if closed and not given and names_some:
        return None
    if any(atom.node.value is False and atom.positive for atom in given):
        return None
    return unique(given)


def _names(facts: Facts, expander: Expander) -> _Names:
    if not facts.names:
        return _Names()
    source = ("propertyNames", facts.names_source)
    found = _Names(source=source)
    branches = [one for one in expander.branches(unique(facts.names)) if "string" in one.types]
    if all(one.scalars is not None for one in branches):
        found.listed = [
            name
            for one in branches
            for name in (one.scalars or {}).values()
            if isinstance(name, str) and _matches(one, name)
        ]
        return found
    if len(branches) != 1:
        raise UnsupportedSchemaError(*source, "it has alternatives.")
    text = branches[0].text
    language = text.language
    if text.low or text.high is not None:
        language &= of_length(text.low, text.high)
    found.language = language or None
    return found


def _matches(facts: Facts, name: str) -> bool:
    text = facts.text
    fits = text.low <= len(name) and (text.high is None or len(name) <= text.high)
    return fits and matches(text.language, name) and ("string", name) not in facts.excluded


def _others(
    facts: Facts, names: _Names, rest: Conj | None, listed: list[str]
) -> tuple[tuple[tuple[str, Conj | None], ...], Conj | None]:
    """The regions of names that patterns make, and what is left."""
    sources: dict[str, str] = {}
    for layer in facts.objects:
        for pattern in layer.patterns:
            sources.setdefault(pattern, layer.path)
    if not sources and names.language is None:
        return (), rest
    regions = _Regions(facts, names, rest, sources, listed)
    try:
        return tuple(regions.found()), None if names.language is not None else rest
    except UnsupportedRegexError as error:
        where = ("patternProperties", next(iter(sources.values()))) if sources else names.source
        raise UnsupportedSchemaError(*where, f"{error}.") from error


@dataclass
class _Regions:
    facts: Facts
    names: _Names
    rest: Conj | None
    sources: dict[str, str]
    listed: list[str]
    _wide: dict[str, Language] = field(default_factory=dict)

    def found(self) -> Iterator[tuple[str, Conj | None]]:
        where = "patternProperties"
        self._wide = {
            key: coarse(regex(widest, key, where, path), grow=True)
            for key, path in self.sources.items()
        }
        self._disjoint()
        for pattern, path in self.sources.items():
            narrow = coarse(regex(search, pattern, where, path), grow=False)
            yield from self._region(narrow, self._holds(pattern))
            if self.rest is None or self.names.language is not None:
                continue
            wide = self._wide[pattern]
            if len(wide.include) > 1 or wide.exclude:
                raise UnsupportedSchemaError(where, path, f"{pattern!r} has a lookaround.")
            # Names that only some dialects find a match in are left out.
            yield from self._region(wide & Language(exclude=narrow.include), None)
        if self.names.language is not None and self.rest is not None:
            taken = [tree for wide in self._wide.values() for tree in wide.include]
            yield from self._region(Language(exclude=tuple(taken)), self.rest)

    def _region(self, language: Language, conj: Conj | None) -> Iterator[tuple[str, Conj | None]]:
        if self.names.language is not None:
            language &= self.names.language
        # llguidance joins what it knows of a name with what it knows of a pattern that it matches.
        named = tuple(literal(name) for name in self.listed if matches(language, name))
        language &= Language(exclude=named)
        if is_empty(language):
            return
        text = whole_text(language)
        if text is not None:
            yield f"^(?:{text})$", conj

    def _disjoint(self) -> None:
        for left, right in combinations(self._wide, 2):
            if not is_empty(self._wide[left] & self._wide[right]):
                reason = f"some names match both {left!r} and {right!r}."
                raise UnsupportedSchemaError("patternProperties", self.sources[right], reason)

    def _holds(self, pattern: str) -> Conj | None:
        found: list[Atom] = []
        for layer in self.facts.objects:
            if pattern in layer.patterns:
                found.append(layer.patterns[pattern])
            elif layer.rest is not None:
                found.append(layer.rest)
        return unique(found)


def _counted(shape: ObjectShape, facts: Facts) -> Iterator[ObjectShape]:
    """Alternatives that have between so many properties."""
    low = facts.min_properties
    high = facts.max_properties
    optional = [
        name
        for name, conj in shape.properties.items()
        if name not in shape.required and conj is not None
    ]
    fixed = len(shape.required)
    is_open = shape.rest is not None or any(conj is not None for _, conj in shape.patterns)
    if high is not None and not is_open and fixed + len(optional) <= high:
        high = None
    if low <= fixed and high is None:
        yield shape
        return
    if high is None and low == fixed + 1:
        # One more of any kind: each of the named in turn, or one that is not named.
        for name in optional:
            yield replace(shape, required=shape.required | {name})
        if is_open:
            yield replace(_without(shape, optional), low=1)
        return
    if len(optional) > _MAX_OPTIONAL:
        raise UnsupportedSchemaError(*facts.count_source, "it counts too many optional properties.")
    for count in range(len(optional) + 1):
        least = max(0, low - fixed - count)
        most = None if high is None else high - fixed - count
        if (most is not None and (most < 0 or least > most)) or (least > 0 and not is_open):
            continue
        if least > 1:
            # {"a": 1, "a": 2} has one property once it is parsed.
            reason = "properties that are not named may repeat a name."
            raise UnsupportedSchemaError(*facts.count_source, reason)
        for chosen in combinations(optional, count):
            others = [name for name in optional if name not in chosen]
            kept = _without(shape, others)
            kept = replace(kept, required=shape.required | {*chosen}, low=least, high=most)
            yield kept if is_open else replace(kept, high=None)


def _without(shape: ObjectShape, names: list[str]) -> ObjectShape:
    properties = {name: None if name in names else conj for name, conj in shape.properties.items()}
    return replace(shape, properties=properties)
