"""Finite automata over the trees of regexes: is a language empty, which is its regex.

Thompson's construction, subsets, Moore's minimization and elimination of states. Every step is
bounded: what is larger is refused.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache

from . import charset
from .charset import CharSet
from .language import Language
from .regex import Alt, Chars, Concat, Node, Repeat, UnsupportedRegexError

_MAX_NFA = 4_000
_MAX_DFA = 1_500
_MAX_MINIMAL = 60
_MAX_TEXT = 20_000

#: A state of the product: what each tree's automaton may be in.
State = tuple[frozenset[int], ...]


class _NFA:
    """States are numbers; 0 is the start, 1 accepts."""

    def __init__(self, tree: Node) -> None:
        self.empty: dict[int, list[int]] = defaultdict(list)
        self.moves: dict[int, list[tuple[CharSet, int]]] = defaultdict(list)
        self.size = 2
        self._add(tree, 0, 1)

    def _new(self) -> int:
        if self.size >= _MAX_NFA:
            raise UnsupportedRegexError("a regex with too many states")
        self.size += 1
        return self.size - 1

    def _add(self, node: Node, start: int, end: int) -> None:
        if isinstance(node, Chars):
            if node.ranges:
                self.moves[start].append((node.ranges, end))
        elif isinstance(node, Alt):
            for option in node.options:
                self._add(option, start, end)
        elif isinstance(node, Repeat):
            self._repeat(node, start, end)
        elif isinstance(node, Concat):
            for item in node.items:
                after = self._new()
                self._add(item, start, after)
                start = after
            self.empty[start].append(end)
        else:
            raise UnsupportedRegexError("an assertion in the middle")

    def _repeat(self, node: Repeat, start: int, end: int) -> None:
        for _ in range(node.low):
            after = self._new()
            self._add(node.item, start, after)
            start = after
        if node.high is None:
            loop = self._new()
            self.empty[start].append(loop)
            self._add(node.item, loop, loop)
            self.empty[loop].append(end)
            return
        for _ in range(node.high - node.low):
            self.empty[start].append(end)
            after = self._new()
            self._add(node.item, start, after)
            start = after
        self.empty[start].append(end)

    def closure(self, states: frozenset[int]) -> frozenset[int]:
        found, todo = set(states), list(states)
        while todo:
            for target in self.empty.get(todo.pop(), ()):
                if target not in found:
                    found.add(target)
                    todo.append(target)
        return frozenset(found)

    def step(self, states: frozenset[int], char: str) -> frozenset[int]:
        return self.closure(
            frozenset(
                target
                for state in states
                for ranges, target in self.moves.get(state, ())
                if charset.contains(ranges, char)
            )
        )


class _Product:
    """The automaton of a language: one of each of its trees, side by side."""

    def __init__(self, language: Language) -> None:
        self.parts = [_NFA(tree) for tree in (*language.include, *language.exclude)]
        self.wanted = [True] * len(language.include) + [False] * len(language.exclude)
        self.start: State = tuple(part.closure(frozenset({0})) for part in self.parts)

    def accepts(self, state: State) -> bool:
        return all((1 in own) == want for own, want in zip(state, self.wanted, strict=True))

    def hopeless(self, state: State) -> bool:
        return any(want and not own for own, want in zip(state, self.wanted, strict=True))

    def step(self, state: State, char: str) -> State:
        return tuple(part.step(own, char) for part, own in zip(self.parts, state, strict=True))

    def classes(self) -> list[CharSet]:
        """Characters that no tree tells apart; those that JSON cannot hold are in none."""
        sets = {ranges for part in self.parts for all_ in part.moves.values() for ranges, _ in all_}
        ordered = sorted(sets)
        cuts = {low for ranges in ordered for low, _ in ranges}
        cuts |= {high + 1 for ranges in ordered for _, high in ranges}
        starts = sorted(cut for cut in cuts | {0} if cut <= charset.LAST)
        groups: dict[tuple[bool, ...], list[tuple[int, int]]] = defaultdict(list)
        for low, after in zip(starts, [*starts[1:], charset.LAST + 1], strict=True):
            key = tuple(charset.contains(ranges, chr(low)) for ranges in ordered)
            groups[key].append((low, after - 1))
        found = (charset.intersect(tuple(pairs), charset.WRITABLE) for pairs in groups.values())
        return [ranges for ranges in found if ranges]

    def explore(self) -> Iterator[tuple[State, list[tuple[CharSet, State]]]]:
        classes = self.classes()
        seen, todo = {self.start}, [self.start]
        while todo:
            state = todo.pop()
            moves = []
            for ranges in classes:
                target = self.step(state, chr(ranges[0][0]))
                if self.hopeless(target):
                    continue
                moves.append((ranges, target))
                if target not in seen:
                    if len(seen) >= _MAX_DFA:
                        raise UnsupportedRegexError("a combination of regexes with too many states")
                    seen.add(target)
                    todo.append(target)
            yield state, moves


@lru_cache(maxsize=1024)
def _product(language: Language) -> _Product:
    return _Product(language)


def matches(language: Language, text: str) -> bool:
    """Whether a string belongs to the language.

    Raises:
        UnsupportedRegexError: the regexes are too large to tell.
    """
    if not language:
        return True
    product = _product(language)
    state = product.start
    for char in text:
        state = product.step(state, char)
        if product.hopeless(state):
            return False
    return product.accepts(state)


@lru_cache(maxsize=1024)
def is_empty(language: Language) -> bool:
    """Whether JSON can hold none of its strings.

    Raises:
        UnsupportedRegexError: the regexes are too large to tell.
    """
    product = _product(language)
    return not any(product.accepts(state) for state, _ in product.explore())


@lru_cache(maxsize=256)
def as_regex(language: Language) -> Node | None:
    """One tree for the language, whatever it excludes; None where it is empty.

    Raises:
        UnsupportedRegexError: it would be too large.
    """
    product = _product(language)
    moves = dict(product.explore())
    accepting = {state for state in moves if product.accepts(state)}
    block = _minimize(moves, accepting)
    edges: dict[tuple[int, int], Node] = {}
    for state, out in moves.items():
        grouped: dict[int, list[CharSet]] = defaultdict(list)
        for ranges, target in out:
            grouped[block[target]].append(ranges)
        for number, sets in grouped.items():
            edges[block[state], number] = Chars(charset.union(*sets))
    live = _alive(edges, {block[state] for state in accepting})
    if block[product.start] not in live:
        return None
    edges = {pair: edge for pair, edge in edges.items() if live.issuperset(pair)}
    if len(live) > _MAX_MINIMAL:
        raise UnsupportedRegexError("a combination of regexes with too many states")
    return _eliminate(edges, block[product.start], {block[state] for state in accepting})


def _minimize(
    moves: dict[State, list[tuple[CharSet, State]]], accepting: set[State]
) -> dict[State, int]:
    block = {state: int(state in accepting) for state in moves}
    while True:
        keys = {
            state: (block[state], tuple((ranges, block[target]) for ranges, target in out))
            for state, out in moves.items()
        }
        numbers: dict[object, int] = {}
        refined = {state: numbers.setdefault(key, len(numbers)) for state, key in keys.items()}
        if len(numbers) == len(set(block.values())):
            return refined
        block = refined


def _alive(edges: dict[tuple[int, int], Node], accepting: set[int]) -> set[int]:
    live = set(accepting)
    while True:
        more = {source for source, target in edges if target in live} - live
        if not more:
            return live
        live |= more


def _eliminate(edges: dict[tuple[int, int], Node], start: int, accepting: set[int]) -> Node:
    first, last = -1, -2
    edges = {**edges, (first, start): Concat(())}
    edges |= {(state, last): Concat(()) for state in accepting}
    inner = {state for pair in edges for state in pair} - {first, last}
    while inner:
        state = min(inner, key=lambda one: sum(one in pair for pair in edges))
        inner.remove(state)
        loop = edges.pop((state, state), None)
        into = {source: edges.pop((source, state)) for source, end in [*edges] if end == state}
        out = {end: edges.pop((state, end)) for source, end in [*edges] if source == state}
        around = () if loop is None else (Repeat(loop, 0, None),)
        for source, before in into.items():
            for end, after in out.items():
                path = _concat(before, *around, after)
                known = edges.get((source, end))
                edges[source, end] = path if known is None else _alt(known, path)
        if sum(_size(edge) for edge in edges.values()) > _MAX_TEXT:
            raise UnsupportedRegexError("a combination of regexes that is too large")
    return edges[first, last]


def _concat(*nodes: Node) -> Node:
    items = [
        item for node in nodes for item in (node.items if isinstance(node, Concat) else (node,))
    ]
    return items[0] if len(items) == 1 else Concat(tuple(items))


def _alt(left: Node, right: Node) -> Node:
    if isinstance(left, Chars) and isinstance(right, Chars):
        return Chars(charset.union(left.ranges, right.ranges))
    options = [
        one
        for node in (left, right)
        for one in (node.options if isinstance(node, Alt) else (node,))
    ]
    return Alt(tuple(dict.fromkeys(options)))


def _size(node: Node) -> int:
    if isinstance(node, Concat):
        return 1 + sum(_size(item) for item in node.items)
    if isinstance(node, Alt):
        return 1 + sum(_size(option) for option in node.options)
    if isinstance(node, Repeat):
        return 1 + _size(node.item)
    return 1
