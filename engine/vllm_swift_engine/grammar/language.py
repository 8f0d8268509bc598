"""The strings that a pattern is found in, without anchors and lookarounds."""

from __future__ import annotations

from dataclasses import dataclass, replace

from . import charset
from .regex import (
    ANY,
    ANYTHING,
    EMPTY,
    Alt,
    Anchor,
    Chars,
    Concat,
    Look,
    Node,
    Repeat,
    UnsupportedRegexError,
    parse,
)

_MAX_PIECES = 64
_MANY_RANGES = 20
_BEYOND_ASCII = charset.without(charset.ANY, ((0, 0x7F),))
_OPTIONAL_LINE_END = Repeat(Chars(charset.chars("\n")), 0, 1)


@dataclass(frozen=True)
class Language:
    """The strings that match each of some trees in whole, and none of some others."""

    include: tuple[Node, ...] = ()
    exclude: tuple[Node, ...] = ()

    def __and__(self, other: Language) -> Language:
        include = (*self.include, *(one for one in other.include if one not in self.include))
        exclude = (*self.exclude, *(one for one in other.exclude if one not in self.exclude))
        return Language(include, exclude)

    def __bool__(self) -> bool:
        """Whether it says anything."""
        return bool(self.include or self.exclude)


def search(pattern: str) -> Language:
    """The strings that hold a match, as JSON schema has it.

    Raises:
        UnsupportedRegexError: a lookaround that is neither at the start nor at the end, ...
        InvalidGrammarError: it is no regex.
    """
    return _language(parse(pattern), wide=False)


def widest(pattern: str) -> Language:
    """The strings that hold a match in any dialect.

    Raises:
        UnsupportedRegexError, InvalidGrammarError: as above.
    """
    return _language(parse(pattern, wide=True), wide=True)


def lacking(pattern: str) -> Language:
    """The strings that hold no match, in any dialect.

    Raises:
        UnsupportedRegexError: it has lookarounds, ...
        InvalidGrammarError: it is no regex.
    """
    found = widest(pattern)
    if found.exclude or len(found.include) > 1:
        raise UnsupportedRegexError(f"the negation of the regex {pattern!r} cannot be enforced")
    return Language(exclude=found.include)


def whole(pattern: str) -> Language:
    """The strings that match from end to end.

    Raises:
        UnsupportedRegexError, InvalidGrammarError: as above.
    """
    tree = parse(pattern)
    return _language(Concat((Anchor(True), tree, Anchor(False))), wide=False)


def of_length(low: int, high: int | None) -> Language:
    """The strings of so many code points."""
    return Language((Repeat(ANY, low, high),))


def coarse(language: Language, grow: bool) -> Language:
    r"""The language with sets of few ranges, of more strings or of fewer.

    A class such as ``\D`` has hundreds of ranges; beyond ASCII it becomes all or nothing.
    """
    return Language(tuple(_coarse(tree, grow) for tree in language.include), language.exclude)


def _coarse(node: Node, grow: bool) -> Node:
    if isinstance(node, Chars) and len(node.ranges) > _MANY_RANGES:
        beyond = _BEYOND_ASCII if grow else ()
        return Chars(charset.union(charset.without(node.ranges, _BEYOND_ASCII), beyond))
    if isinstance(node, Concat):
        return Concat(tuple(_coarse(item, grow) for item in node.items))
    if isinstance(node, Alt):
        return Alt(tuple(_coarse(option, grow) for option in node.options))
    return replace(node, item=_coarse(node.item, grow)) if isinstance(node, Repeat) else node


@dataclass(frozen=True)
class _Piece:
    """One way to match, and where it has to be: ``body`` holds no assertions."""

    body: Node = EMPTY
    start: bool = False
    end: bool = False
    looks: tuple[Look, ...] = ()


def _language(tree: Node, wide: bool) -> Language:
    pieces = _pieces(tree)
    looks = [look for piece in pieces for look in piece.looks]
    if looks and len(pieces) > 1:
        raise UnsupportedRegexError("a lookaround in one of several alternatives")
    for piece in pieces:
        for look in piece.looks:
            if not (piece.start if look.ahead else piece.end):
                raise UnsupportedRegexError("a lookaround that is not at the start or the end")
    include, exclude = [_union(pieces, wide)], list[Node]()
    for look in looks:
        inside = _pieces(look.item)
        if any(piece.looks for piece in inside):
            raise UnsupportedRegexError("a lookaround inside a lookaround")
        at = Anchor(look.ahead)
        placed = Concat((at, look.item) if look.ahead else (look.item, at))
        tree = _union(_pieces(placed), wide != look.negated)
        (exclude if look.negated else include).append(tree)
    return Language(tuple(include), tuple(exclude))


def _union(pieces: list[_Piece], wide: bool) -> Node:
    options = []
    for piece in pieces:
        before = EMPTY if piece.start else ANYTHING
        after: Node = ANYTHING
        if piece.end:
            after = _OPTIONAL_LINE_END if wide else EMPTY
        options.append(_join(_join(before, piece.body), after))
    return options[0] if len(options) == 1 else Alt(tuple(options))


def _pieces(node: Node) -> list[_Piece]:
    if not _asserts(node):
        return [_Piece(node)]
    if isinstance(node, Anchor):
        return [_Piece(start=node.start, end=not node.start)]
    if isinstance(node, Look):
        return [_Piece(looks=(node,))]
    if isinstance(node, Alt):
        return _few([piece for option in node.options for piece in _pieces(option)])
    if isinstance(node, Concat):
        found = [_Piece()]
        for item in node.items:
            right = _pieces(item)
            pairs = [_concat(one, other) for one in found for other in right]
            found = _few([piece for piece in pairs if piece is not None])
        return found
    if isinstance(node, Repeat) and node.high == 1:
        return [_Piece()] * (node.low == 0) + _pieces(node.item)
    raise UnsupportedRegexError("an anchor inside a repetition")


def _few(pieces: list[_Piece]) -> list[_Piece]:
    if len(pieces) > _MAX_PIECES:
        raise UnsupportedRegexError(f"anchors in more than {_MAX_PIECES} combinations")
    return pieces


def _asserts(node: Node) -> bool:
    if isinstance(node, (Anchor, Look)):
        return True
    if isinstance(node, Repeat):
        return _asserts(node.item)
    if isinstance(node, Concat):
        return any(_asserts(item) for item in node.items)
    return isinstance(node, Alt) and any(_asserts(option) for option in node.options)


def _concat(left: _Piece, right: _Piece) -> _Piece | None:
    """One after the other; None where that cannot match."""
    if right.start and left.body != EMPTY:
        if not nullable(left.body):
            return None
        left = replace(left, body=EMPTY)
    if left.end and right.body != EMPTY:
        if not nullable(right.body):
            return None
        right = replace(right, body=EMPTY)
    start, end = left.start or right.start, left.end or right.end
    if any(look.ahead for look in right.looks) and left.body != EMPTY:
        raise UnsupportedRegexError("a lookahead that is not at the start")
    if any(not look.ahead for look in left.looks) and right.body != EMPTY:
        raise UnsupportedRegexError("a lookbehind that is not at the end")
    return _Piece(_join(left.body, right.body), start, end, (*left.looks, *right.looks))


def nullable(node: Node) -> bool:
    """Whether the empty string matches."""
    if isinstance(node, Concat):
        return all(nullable(item) for item in node.items)
    if isinstance(node, Alt):
        return any(nullable(option) for option in node.options)
    return isinstance(node, Repeat) and (node.low == 0 or nullable(node.item))


def _join(left: Node, right: Node) -> Node:
    if left == EMPTY:
        return right
    if right == EMPTY:
        return left
    return Concat((*_items(left), *_items(right)))


def _items(node: Node) -> tuple[Node, ...]:
    return node.items if isinstance(node, Concat) else (node,)
