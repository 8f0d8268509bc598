"""All conjunctions that a schema leads to, and which of them any value satisfies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from vllm_swift_engine.errors import InvalidGrammarError

from .arrays import ArrayShape
from .expand import Expander
from .facts import Conj
from .objects import ObjectShape
from .shapes import Shape, shape_of

_MAX_STATES = 4_000
_MAX_SHAPES = 20_000

Key = tuple[tuple[str, bool], ...]


def key_of(conj: Conj) -> Key:
    return tuple(sorted(atom.key for atom in conj))


@dataclass
class State:
    """One conjunction: values of any of its shapes."""

    shapes: list[Shape]
    children: set[Key] = field(default_factory=set)
    #: Whether a finite value satisfies it.
    alive: bool = False
    culprit: tuple[str, str] = ("", "")


class Graph:
    """The states of one schema, from its root on."""

    def __init__(self, root: Conj, expander: Expander, closed: bool) -> None:
        self.states: dict[Key, State] = {}
        self.root = key_of(root)
        count = 0
        todo = [root]
        while todo:
            conj = todo.pop()
            key = key_of(conj)
            if key in self.states:
                continue
            branches = expander.branches(conj)
            state = State([shape_of(facts, expander, closed) for facts in branches])
            state.culprit = next((one.culprit for one in branches if one.culprit[0]), ("", ""))
            self.states[key] = state
            children = [child for shape in state.shapes for child in _children(shape)]
            count += len(state.shapes) + len(children)
            if len(self.states) > _MAX_STATES or count > _MAX_SHAPES:
                raise InvalidGrammarError("json asks for too many combinations of schemas.")
            state.children = {key_of(child) for child in children}
            todo += reversed(children)
        self._live()

    def alive(self, conj: Conj | None) -> bool:
        return conj is not None and self.states[key_of(conj)].alive

    def _live(self) -> None:
        """A state is alive as soon as one of its shapes needs only states that are."""
        parents: dict[Key, list[Key]] = {}
        for key, state in self.states.items():
            for child in state.children:
                parents.setdefault(child, []).append(key)
        todo = [*self.states]
        while todo:
            key = todo.pop()
            state = self.states[key]
            if not state.alive and any(self._satisfiable(shape) for shape in state.shapes):
                state.alive = True
                todo += parents.get(key, ())

    def _satisfiable(self, shape: Shape) -> bool:
        if shape.anything or shape.scalars or shape.simple:
            return True
        arrays = any(self.array_length(array) is not None for array in shape.arrays)
        return arrays or any(self.object_possible(one) for one in shape.objects)

    def array_length(self, shape: ArrayShape) -> tuple[int, int | None] | None:
        """How long it can be; None where it cannot be as long as it has to."""
        high = shape.high
        for index, conj in enumerate(shape.prefix):
            if (high is None or index < high) and not self.alive(conj):
                high = index
        if not self.alive(shape.rest):
            high = len(shape.prefix) if high is None else min(high, len(shape.prefix))
        return None if high is not None and high < shape.low else (shape.low, high)

    def object_possible(self, shape: ObjectShape) -> bool:
        if not all(self.alive(shape.properties[name]) for name in shape.required):
            return False
        others = (shape.rest, *(conj for _, conj in shape.patterns))
        return shape.low == 0 or any(self.alive(conj) for conj in others)


def _children(shape: Shape) -> Iterator[Conj]:
    for array in shape.arrays:
        yield from array.prefix
        yield array.rest
    for one in shape.objects:
        found = (*one.properties.values(), *(conj for _, conj in one.patterns), one.rest)
        yield from (conj for conj in found if conj is not None)
