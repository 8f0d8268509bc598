"""A graph of states as a JSON schema of the few forms that llguidance keeps exactly."""

from __future__ import annotations

from collections import Counter
from typing import Any

from .arrays import ArrayShape
from .facts import Conj
from .graph import Graph, Key, State, key_of
from .objects import ObjectShape
from .shapes import Shape

#: Schemas inside each other before one becomes a definition: llguidance parses 128 levels.
_MAX_NESTED = 20


def emit(graph: Graph) -> dict[str, Any]:
    """The schema of a graph whose root is alive."""
    return _Emitter(graph).run()


class _Emitter:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.names: dict[Key, str] = {}
        self.todo: list[Key] = []
        self.uses = Counter(
            child for state in graph.states.values() if state.alive for child in state.children
        )
        self.stack: list[Key] = []

    def run(self) -> dict[str, Any]:
        root = self.state(self.graph.root)
        definitions: dict[str, Any] = {}
        while self.todo:
            key = self.todo.pop()
            definitions[self.names[key]] = self.body(key)
        result = root if isinstance(root, dict) else {"allOf": [root]}
        return {**result, "$defs": definitions} if definitions else result

    def conj(self, conj: Conj) -> Any:
        return self.state(key_of(conj))

    def state(self, key: Key) -> Any:
        state = self.graph.states[key]
        if not state.alive:
            return False
        shared = self.uses[key] > 1 and bool(state.children)
        if not (shared or key in self.stack or len(self.stack) > _MAX_NESTED or key in self.names):
            return self.body(key)
        if key not in self.names:
            self.names[key] = f"s{len(self.names)}"
            self.todo.append(key)
        return {"$ref": f"#/$defs/{self.names[key]}"}

    def body(self, key: Key) -> Any:
        self.stack.append(key)
        try:
            return self.options(self.graph.states[key])
        finally:
            self.stack.pop()

    def options(self, state: State) -> Any:
        if any(shape.anything for shape in state.shapes):
            return True
        found: list[Any] = []
        scalars: list[Any] = []
        for shape in state.shapes:
            scalars += shape.scalars
            found += self.parts(shape)
        if scalars:
            found.insert(0, _constants(scalars))
        distinct: list[Any] = []
        for one in found:
            if one not in distinct:
                distinct.append(one)
        return distinct[0] if len(distinct) == 1 else {"anyOf": distinct}

    def parts(self, shape: Shape) -> list[Any]:
        arrays = [self.array(one) for one in shape.arrays]
        objects = [self.object(one) for one in shape.objects if self.graph.object_possible(one)]
        return [*shape.simple, *(one for one in arrays if one is not None), *objects]

    def array(self, shape: ArrayShape) -> dict[str, Any] | None:
        length = self.graph.array_length(shape)
        if length is None:
            return None
        low, high = length
        prefix = shape.prefix if high is None else shape.prefix[:high]
        found: dict[str, Any] = {"type": "array"}
        if prefix:
            found["prefixItems"] = [self.conj(conj) for conj in prefix]
        if high is None or high > len(prefix):
            found["items"] = self.conj(shape.rest)
        if low:
            found["minItems"] = low
        if high is not None:
            found["maxItems"] = high
        return found

    def object(self, shape: ObjectShape) -> dict[str, Any]:
        alive = self.graph.alive
        found: dict[str, Any] = {"type": "object", "properties": {}}
        for name, conj in shape.properties.items():
            found["properties"][name] = self.conj(conj) if conj is not None else False
        patterns = {
            pattern: self.conj(conj) if conj is not None and alive(conj) else False
            for pattern, conj in shape.patterns
        }
        if patterns:
            found["patternProperties"] = patterns
        rest = shape.rest
        found["additionalProperties"] = self.conj(rest) if rest is not None else False
        if shape.required:
            found["required"] = [name for name in shape.properties if name in shape.required]
        if shape.low:
            found["minProperties"] = len(shape.required) + shape.low
        if shape.high is not None:
            if shape.high == 0:
                found["additionalProperties"] = False
                found.pop("patternProperties", None)
            else:
                found["maxProperties"] = len(shape.required) + shape.high
        return found


def _constants(values: list[Any]) -> dict[str, Any]:
    # 1.0 is 1; llguidance writes an integer only where it reads one.
    plain = [int(one) if isinstance(one, float) and one.is_integer() else one for one in values]
    return {"const": plain[0]} if len(plain) == 1 else {"enum": plain}
