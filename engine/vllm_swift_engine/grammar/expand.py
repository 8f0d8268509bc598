"""A conjunction of schemas as alternatives without a choice left in them.

References, ``allOf`` and what stands beside them are joined; ``anyOf``, ``oneOf``, ``if`` and
``not`` become alternatives. Every step is counted, since a schema can ask for exponentially many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from vllm_swift_engine.errors import InvalidGrammarError, UnsupportedSchemaError

from . import keywords
from .document import Document, Node
from .facts import ArrayLayer, Atom, Conj, Contains, Facts, ObjectLayer, scalar_key, type_of
from .language import Language, lacking
from .negate import Excluded, Fractional, Lacking, negation
from .regex import literal

_MAX_BRANCHES = 300
_MAX_STEPS = 200_000
_MAX_ONE_OF = 100
#: Pairs of alternatives of ``oneOf`` that have to be told apart by a negation.
_MAX_OVERLAPS = 200
#: How far below two alternatives of ``oneOf`` what tells them apart is looked for.
_DISJOINT_DEPTH = 3

#: One of these lists of atoms, and who asks.
Choice = tuple[list[list[Atom]], str, str]
_CONTAINERS = ("array", "object")
_FILL = Atom(Node(True, "\0true"))


class Expander:
    """Branches of conjunctions of one document's schemas."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._steps = 0
        #: Conjunctions whose satisfiability is being looked into.
        self._open: set[tuple[tuple[str, bool], ...]] = set()
        self._known: dict[tuple[tuple[str, bool], ...], list[Facts]] = {}

    def branches(self, conj: Conj) -> list[Facts]:
        """What a value of the conjunction satisfies one of; those that are plainly empty left out.

        Raises:
            UnsupportedSchemaError: a keyword cannot be enforced, or there are too many branches.
            InvalidGrammarError: a keyword has a value of the wrong kind.
        """
        key = tuple(atom.key for atom in conj)
        if key not in self._known:
            self._known[key] = self._expand(conj)
        return self._known[key]

    def possible(self, conj: Conj, depth: int = _DISJOINT_DEPTH) -> bool:
        """False where surely no value satisfies the conjunction, as far down as ``depth``."""
        key = tuple(atom.key for atom in conj)
        if key in self._open:
            return True
        self._open.add(key)
        try:
            return self._possible(conj, depth)
        finally:
            self._open.remove(key)

    def _possible(self, conj: Conj, depth: int) -> bool:
        for facts in self.branches(conj):
            if facts.impossible:
                continue
            if set(facts.types) != {"object"} or depth == 0:
                return True
            children = (self.property(facts, name) for name in facts.required)
            if all(self.possible(child, depth - 1) for child in children):
                return True
        return False

    def property(self, facts: Facts, name: str) -> Conj:
        """All that holds for a property of that name."""
        found: list[Atom] = []
        for layer in facts.objects:
            found += self.layer_property(layer, name)
        return unique(found)

    def layer_property(self, layer: ObjectLayer, name: str) -> list[Atom]:
        """What one schema's keywords ask of a property."""
        found = [layer.properties[name]] if name in layer.properties else []
        for pattern, atom in layer.patterns.items():
            if keywords.key_matches(pattern, name, layer.path):
                found.append(atom)
        if not found and layer.rest is not None:
            found = [layer.rest]
        return found

    def _expand(self, conj: Conj) -> list[Facts]:
        done: list[Facts] = []
        todo: list[tuple[Facts, list[Atom | Choice]]] = [(Facts(), [*reversed(conj)])]
        while todo:
            facts, rest = todo.pop()
            self._steps += 1
            if self._steps > _MAX_STEPS:
                raise InvalidGrammarError("json asks for too many combinations of schemas.")
            if facts.impossible:
                done.append(facts)
            elif not rest:
                done += self._finish(facts)
            else:
                item = rest.pop()
                if isinstance(item, Atom):
                    self._apply(facts, item, rest)
                    todo.append((facts, rest))
                else:
                    options, keyword, path = item
                    if len(todo) + len(options) > _MAX_BRANCHES or len(done) > 10 * _MAX_BRANCHES:
                        raise UnsupportedSchemaError(keyword, path, "too many combinations.")
                    todo += [
                        (facts.copy(), [*rest, *reversed(option)]) for option in reversed(options)
                    ]
        alive = [facts for facts in done if not facts.impossible]
        return alive or done[:1]

    def _apply(self, facts: Facts, atom: Atom, rest: list[Atom | Choice]) -> None:
        """Writes a schema into the facts; what it leaves open goes to ``rest``."""
        node = atom.node
        value = node.value
        if isinstance(value, Excluded):
            self._exclude(facts, value, atom)
        elif isinstance(value, Lacking):
            facts.only_types({"string"}, atom.blame)
            facts.text_source = atom.blame
            facts.text.language &= keywords.regex(lacking, value.pattern, *atom.blame)
        elif isinstance(value, Fractional):
            facts.only_types({"number"}, atom.blame)
            facts.fractional = atom.blame
        elif not atom.positive:
            rest.extend(reversed(self._negated(atom)))
        elif value is False:
            facts.only_types((), _where(node))
        elif value is not True:
            self._keywords(facts, atom, rest)

    def _keywords(self, facts: Facts, atom: Atom, rest: list[Atom | Choice]) -> None:
        node = atom.node
        value: Mapping[str, Any] = node.value
        if node.path in atom.inside:
            raise InvalidGrammarError(f"the schema at {node.path or '/'} refers to itself.")
        inside = (*atom.inside, node.path)

        def below(child: Node, positive: bool = True, keyword: str = "not") -> Atom:
            return Atom(child, positive, node.where(keyword), inside, atom.silent)

        atoms: list[Atom] = []
        choices: list[Choice] = []
        references = [name for name in ("$ref", "$dynamicRef") if name in value]
        for name in references:
            atoms.append(below(self._document.target(node, name)))
        if references and self._document.lonely_ref:
            rest += reversed(atoms)
            return
        for name, apply in keywords.APPLY.items():
            if name in value:
                apply(facts, node)
        self._arrays(facts, atom)
        self._objects(facts, atom)
        if "const" in value:
            self._values(facts, atom, "const", [value["const"]], atoms, choices)
        if "enum" in value:
            if not isinstance(value["enum"], (list, tuple)):
                raise keywords.wrong(node, "enum", "a list")
            self._values(facts, atom, "enum", [*value["enum"]], atoms, choices)
        if "allOf" in value:
            atoms += [below(child) for child in keywords.schemas(node, "allOf")]
        if "anyOf" in value:
            options = [[below(child)] for child in keywords.schemas(node, "anyOf")]
            choices.append((options, *node.where("anyOf")))
        if "oneOf" in value:
            choices.append((self._one_of(node, below), *node.where("oneOf")))
        if "not" in value:
            atoms.append(below(keywords.schema(node, "not"), False))
        if "if" in value:
            choices.append((self._if(node, below), *node.where("if")))
        choices += _dependent(node, below, self._document.draft)
        rest += reversed(atoms)
        # Choices come last: by then the facts rule out most of them.
        rest[:0] = reversed(choices)

    def _one_of(self, node: Node, below: Any) -> list[list[Atom]]:
        options = keywords.schemas(node, "oneOf")
        if len(options) > _MAX_ONE_OF:
            reason = f"it has more than {_MAX_ONE_OF} alternatives."
            raise UnsupportedSchemaError(*node.where("oneOf"), reason)
        tag = self._tag(node, options)
        result = [[below(option), *tag] for option in options]
        pairs = combinations(range(len(options)), 2)
        overlaps = [(a, b) for a, b in pairs if self._overlap(options[a], options[b], tag)]
        if len(overlaps) > _MAX_OVERLAPS:
            reason = "too many of its alternatives may hold at once."
            raise UnsupportedSchemaError(*node.where("oneOf"), reason)
        for left, right in overlaps:
            result[left].append(below(options[right], False, "oneOf"))
            result[right].append(below(options[left], False, "oneOf"))
        return result

    def _tag(self, node: Node, options: list[Node]) -> list[Atom]:
        """That OpenAPI's discriminator is there, where it can be.

        pydantic writes a tag with a default as optional, and reads no object without it.
        """
        named = node.value.get("discriminator")
        name = named.get("propertyName") if isinstance(named, Mapping) else None
        if not isinstance(name, str):
            return []
        made = node.made({"required": [name]}, f"tag#{name}", node.where("oneOf"))
        tag = Atom(made)
        return [tag] if all(self.possible((Atom(one), tag)) for one in options) else []

    def _overlap(self, left: Node, right: Node, more: Sequence[Atom] = ()) -> bool:
        return self.possible((Atom(left), Atom(right), *more))

    def _if(self, node: Node, below: Any) -> list[list[Atom]]:
        condition = keywords.schema(node, "if")
        then, other = (
            [below(keywords.schema(node, name))] if name in node.value else []
            for name in ("then", "else")
        )
        if not then and not other:
            return [[]]
        return [[below(condition), *then], [below(condition, False, "if"), *other]]

    def _values(
        self,
        facts: Facts,
        atom: Atom,
        keyword: str,
        values: list[Any],
        atoms: list[Atom],
        choices: list[Choice],
    ) -> None:
        node = atom.node
        source = node.where(keyword)
        plain = [value for value in values if type_of(value) not in _CONTAINERS]
        structured = [value for value in values if type_of(value) in _CONTAINERS]
        if not structured:
            facts.only_scalars(plain, source)
            return
        options = [[Atom(node.made({"enum": plain}, f"{keyword}#", source))]] if plain else []
        for index, value in enumerate(structured):
            made = node.made(_shape_of(value), f"{keyword}#{index}", source)
            options.append([Atom(made, blame=source)])
        choices.append((options, *source))

    def _exclude(self, facts: Facts, excluded: Excluded, atom: Atom) -> None:
        for value in excluded.values:
            if type_of(value) in _CONTAINERS:
                reason = "a list or an object cannot be excluded."
                raise UnsupportedSchemaError(*atom.blame, reason)
            facts.excluded[scalar_key(value)] = value
            if type_of(value) == "number":
                facts.number_source = atom.blame
            if isinstance(value, str):
                facts.text_source = atom.blame
                facts.text.language &= Language(exclude=(literal(value),))

    def _negated(self, atom: Atom) -> list[Atom | Choice]:
        """What it means that a schema does not hold."""
        value = atom.node.value
        if isinstance(value, bool):
            return [Atom(atom.node.made(not value, "not", atom.blame))]
        if atom.node.path in atom.inside:
            raise InvalidGrammarError(f"the schema at {atom.node.path or '/'} refers to itself.")
        options = [
            [one._replace(inside=(*atom.inside, *one.inside), silent=True) for one in option]
            for option in negation(atom, self._document, self._overlap)
        ]
        if len(options) == 1:
            return [*options[0]]
        return [(options, *atom.blame)]

    def _arrays(self, facts: Facts, atom: Atom) -> None:
        node = atom.node
        inside = () if atom.silent else (*atom.inside, node.path)
        value = node.value
        if isinstance(value.get("items"), (list, tuple)):
            reason = "an array of schemas is called prefixItems since draft 2020-12."
            raise UnsupportedSchemaError(*node.where("items"), reason)
        if "prefixItems" in value or "items" in value:
            prefix = keywords.schemas(node, "prefixItems") if "prefixItems" in value else []
            items = Atom(keywords.schema(node, "items")) if "items" in value else None
            facts.arrays.append(ArrayLayer(tuple(Atom(one) for one in prefix), items, inside))
        if "contains" in value:
            low = keywords.count(node, "minContains") if "minContains" in value else 1
            high = keywords.count(node, "maxContains") if "maxContains" in value else None
            item = Atom(keywords.schema(node, "contains"), blame=node.where("contains"))
            facts.contains.append(Contains(item, low, high, node.at("contains")))
        for keyword in ("unevaluatedItems", "unevaluatedProperties"):
            if keyword in value:
                child = Atom(keywords.schema(node, keyword))
                facts.unevaluated.append((node.path, keyword, child))

    def _objects(self, facts: Facts, atom: Atom) -> None:
        node = atom.node
        inside = () if atom.silent else (*atom.inside, node.path)
        value = node.value
        properties, patterns = (
            {
                name: Atom(child)
                for name, child in (keywords.named(node, key) if key in value else {}).items()
            }
            for key in ("properties", "patternProperties")
        )
        rest = None
        if "additionalProperties" in value:
            rest = Atom(keywords.schema(node, "additionalProperties"))
        if properties or patterns or rest is not None or "properties" in value:
            path = node.at("patternProperties")
            facts.objects.append(ObjectLayer(properties, patterns, rest, path, inside))
        if "propertyNames" in value:
            facts.names.append(Atom(keywords.schema(node, "propertyNames")))
            facts.names_source = node.at("propertyNames")

    def _finish(self, facts: Facts) -> list[Facts]:
        """Adds what ``unevaluated...`` asks, now that all schemas at this place are known."""
        for scope, keyword, atom in facts.unevaluated:
            if keyword == "unevaluatedItems":
                layers = [layer for layer in facts.arrays if scope in layer.inside]
                if all(layer.rest is None for layer in layers):
                    known = max((len(layer.prefix) for layer in layers), default=0)
                    facts.arrays.append(ArrayLayer((_FILL,) * known, atom))
                continue
            objects = [layer for layer in facts.objects if scope in layer.inside]
            if any(layer.rest is not None for layer in objects):
                continue
            properties = {name: _FILL for layer in objects for name in layer.properties}
            patterns = {name: _FILL for layer in objects for name in layer.patterns}
            path = atom.node.path
            facts.objects.append(ObjectLayer(properties, patterns, atom, path))
        return [facts]


def unique(atoms: list[Atom]) -> Conj:
    """Each schema once; true says nothing."""
    kept = {atom.key: atom for atom in atoms if not (atom.positive and atom.node.value is True)}
    return tuple(kept.values())


def _where(node: Node) -> tuple[str, str]:
    path = node.path.partition("\0")[0]
    return path.rpartition("/")[2] or "false", path


def _shape_of(value: Any) -> dict[str, Any]:
    """A list or an object as a schema that only it satisfies."""
    if isinstance(value, Mapping):
        return {
            "type": "object",
            "required": [*value],
            "properties": {name: {"const": item} for name, item in value.items()},
            "additionalProperties": False,
        }
    shape = {"type": "array", "minItems": len(value), "maxItems": len(value)}
    return {**shape, "prefixItems": [{"const": item} for item in value]} if value else shape


def _dependent(node: Node, below: Any, draft: str) -> list[Choice]:
    """A property is absent, or what depends on it holds."""
    found: list[Choice] = []
    for keyword in ("dependentRequired", "dependentSchemas", "dependencies"):
        if keyword not in node.value or (keyword == "dependencies") != draft.startswith("draft-0"):
            continue
        if not isinstance(node.value[keyword], Mapping):
            raise keywords.wrong(node, keyword, "an object")
        for name in node.value[keyword]:
            source = node.where(keyword)
            absent = node.made({"properties": {name: False}}, f"{keyword}#{name}", source)
            needs = node.value[keyword][name]
            if isinstance(needs, (list, tuple)):
                needs = [*keywords.strings(node.child(keyword), name)]
                held = node.made({"required": needs}, f"{keyword}#{name}#needs", source)
            else:
                held = keywords.schema(node, keyword, name)
            found.append(([[Atom(absent)], [below(held)]], *source))
    return found
