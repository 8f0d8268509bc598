"""Finite automata over the trees of regexes: is a language empty, which is its regex.

Thompson's construction, subsets, Moore's minimization and elimination of states. Every step is
bounded: what is larger is refused.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from functools import lru_cache

from . import charset
from .charset import CharSet
from .language import Language
from .regex import Alt, Chars, Concat, Node, Repeat, UnsupportedRegexError

_MAX_NFA = 4_000
_MAX_DFA = 1_500
_MAX_MINIMAL = 120
#: The parser of regexes nests 250 levels.
_MAX_DEPTH = 200
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

    def closure(self, states: Iterable[int]) -> frozenset[int]:
        found, todo = {*states}, [*states]
        while todo:
            for target in self.empty.get(todo.pop(), ()):
                if target not in found:
                    found.add(target)
                    todo.append(target)
        return frozenset(found)

    def table(self, char: str) -> dict[int, list[int]]:
        """Where a character leads from each state."""
        return {
            state: targets
            for state, moves in self.moves.items()
            if (targets := [end for ranges, end in moves if charset.contains(ranges, char)])
        }


class _Product:
    """The automaton of a language: one of each of its trees, side by side."""

    def __init__(self, language: Language) -> None:
        self.parts = [_NFA(tree) for tree in (*language.include, *language.exclude)]
        self.wanted = [True] * len(language.include) + [False] * len(language.exclude)
        self.start: State = tuple(part.closure([0]) for part in self.parts)
        #: Characters that no tree tells apart.
        self.classes = self._classes()
        self.tables = [
            [part.table(chr(ranges[0][0])) for part in self.parts] for ranges in self.classes
        ]
        #: The classes that JSON can write, by their numbers.
        self.writable = [
            (number, shown)
            for number, ranges in enumerate(self.classes)
            if (shown := charset.intersect(ranges, charset.WRITABLE))
        ]

    def accepts(self, state: State) -> bool:
        return all((1 in own) == want for own, want in zip(state, self.wanted, strict=True))

    def hopeless(self, state: State) -> bool:
        return any(want and not own for own, want in zip(state, self.wanted, strict=True))

    def step(self, state: State, number: int) -> State:
        return tuple(
            part.closure({end for one in own for end in table.get(one, ())})
            for part, own, table in zip(self.parts, state, self.tables[number], strict=True)
        )

    def _classes(self) -> list[CharSet]:
        sets = {ranges for part in self.parts for all_ in part.moves.values() for ranges, _ in all_}
        ordered = sorted(sets)
        cuts = {low for ranges in ordered for low, _ in ranges}
        cuts |= {high + 1 for ranges in ordered for _, high in ranges}
        starts = sorted(cut for cut in cuts | {0} if cut <= charset.LAST)
        groups: dict[tuple[bool, ...], list[tuple[int, int]]] = defaultdict(list)
        for low, after in zip(starts, [*starts[1:], charset.LAST + 1], strict=True):
            key = tuple(charset.contains(ranges, chr(low)) for ranges in ordered)
            groups[key].append((low, after - 1))
        return [tuple(pairs) for pairs in groups.values()]

    def explore(self) -> Iterator[tuple[State, list[tuple[CharSet, State]]]]:
        """Every state that JSON strings lead to, nearest first."""
        seen, todo = {self.start}, deque([self.start])
        while todo:
            state = todo.popleft()
            moves = []
            for number, ranges in self.writable:
                target = self.step(state, number)
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
        number = next(n for n, all_ in enumerate(product.classes) if charset.contains(all_, char))
        state = product.step(state, number)
        if product.hopeless(state):
            return False
    return product.accepts(state)


@lru_cache(maxsize=1024)
def distance(language: Language) -> int | None:
    """How many states are nearer than a string of the language; None where JSON can hold none.

    Raises:
        UnsupportedRegexError: the regexes are too large to tell.
    """
    product = _product(language)
    for count, (state, _) in enumerate(product.explore()):
        if product.accepts(state):
            return count
    return None


def is_empty(language: Language) -> bool:
    """Whether JSON can hold none of its strings.

    Raises:
        UnsupportedRegexError: the regexes are too large to tell.
    """
    return distance(language) is None


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
    tree = _eliminate(edges, block[product.start], {block[state] for state in accepting})
    if _depth(tree) > _MAX_DEPTH:
        raise UnsupportedRegexError("a combination of regexes that is too deep")
    return tree


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
    out: dict[int, dict[int, Node]] = defaultdict(dict)
    into: dict[int, set[int]] = defaultdict(set)

    def add(source: int, end: int, path: Node) -> None:
        known = out[source].get(end)
        out[source][end] = path if known is None else _alt(known, path)
        into[end].add(source)

    for (source, end), edge in edges.items():
        add(source, end, edge)
    add(first, start, Concat(()))
    for state in accepting:
        add(state, last, Concat(()))
    inner = {state for state in (*out, *into) if state >= 0}
    while inner:
        state = min(inner, key=lambda one: (len(out[one]) * len(into[one]), one))
        inner.remove(state)
        loop = out[state].pop(state, None)
        around = () if loop is None else (Repeat(loop, 0, None),)
        after = out.pop(state)
        for source in into.pop(state) - {state}:
            before = out[source].pop(state)
            for end, tail in after.items():
                path = _concat(before, *around, tail)
                if _size(path) > _MAX_TEXT:
                    raise UnsupportedRegexError("a combination of regexes that is too large")
                add(source, end, path)
        for end in after:
            into[end].discard(state)
    return out[first][last]


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


def _depth(node: Node) -> int:
    if isinstance(node, (Concat, Alt)):
        parts = node.items if isinstance(node, Concat) else node.options
        return 1 + max((_depth(part) for part in parts), default=0)
    return 1 + _depth(node.item) if isinstance(node, Repeat) else 1


def _size(node: Node) -> int:
    if isinstance(node, Concat):
        return 1 + sum(_size(item) for item in node.items)
    if isinstance(node, Alt):
        return 1 + sum(_size(option) for option in node.options)
    if isinstance(node, Repeat):
        return 1 + _size(node.item)
    return 1
