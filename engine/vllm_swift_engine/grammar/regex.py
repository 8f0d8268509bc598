r"""Regular expressions of JSON schemas: the dialect of ECMA-262, read into a tree.

Validators are written in many languages, and their regexes differ in what a class like ``\d`` is.
A tree holds what all of them match, or with ``wide`` what any of them does: an output that has to
match is held by the first, and one that must not by the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

from vllm_swift_engine.errors import InvalidGrammarError

from . import charset
from .charset import CharSet

#: Times that a repetition may be written out, over all that it is in.
MAX_REPEAT = 100_000
_MAX_LENGTH = 10_000
_MAX_DEPTH = 60


@dataclass(frozen=True)
class Chars:
    """One character of a set; no character where the set is empty."""

    ranges: CharSet


@dataclass(frozen=True)
class Concat:
    """One after the other; the empty string where there are none."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Alt:
    """Any of them."""

    options: tuple[Node, ...]


@dataclass(frozen=True)
class Repeat:
    """``low`` to ``high`` times; None is any number."""

    item: Node
    low: int
    high: int | None


@dataclass(frozen=True)
class Anchor:
    """``^`` or ``$``."""

    start: bool


@dataclass(frozen=True)
class Look:
    """A lookaround."""

    item: Node
    ahead: bool
    negated: bool


Node = Union[Chars, Concat, Alt, Repeat, Anchor, Look]  # noqa: UP007 named before they are defined

EMPTY = Concat(())
ANY = Chars(charset.ANY)
ANYTHING = Repeat(ANY, 0, None)


class UnsupportedRegexError(InvalidGrammarError):
    """A construct that no grammar has."""


def literal(text: str) -> Node:
    return Concat(tuple(Chars(charset.chars(char)) for char in text))


def parse(pattern: str, *, wide: bool = False) -> Node:
    """The tree of a pattern.

    Raises:
        UnsupportedRegexError: a back reference, a word boundary, flags, ...
        InvalidGrammarError: it is no regex.
    """
    if len(pattern) > _MAX_LENGTH:
        raise UnsupportedRegexError(f"a regex of {len(pattern)} characters is too long")
    parser = _Parser(pattern, wide)
    tree = parser.alternation(0)
    if parser.at < len(pattern):
        raise parser.error("an unmatched )")
    _bounded(tree)
    return tree


def _bounded(node: Node) -> int:
    """How many characters it is at least when written out; refuses what is far too many."""
    if isinstance(node, Repeat):
        size = _bounded(node.item) * max(node.low, node.high or 1, 1)
    elif isinstance(node, (Concat, Alt)):
        parts = node.items if isinstance(node, Concat) else node.options
        size = sum(_bounded(part) for part in parts)
    elif isinstance(node, Look):
        size = _bounded(node.item)
    else:
        size = 1
    if size > MAX_REPEAT:
        raise UnsupportedRegexError(f"its repetitions are more than {MAX_REPEAT} characters")
    return size


_CONTROLS = {"t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "0": "\0"}


class _Parser:
    def __init__(self, text: str, wide: bool) -> None:
        self.text = text
        self.wide = wide
        self.at = 0

    def error(self, what: str) -> InvalidGrammarError:
        return InvalidGrammarError(f"{what} at character {self.at} of the regex {self.text!r}")

    def refuse(self, what: str) -> UnsupportedRegexError:
        return UnsupportedRegexError(f"{what} in the regex {self.text!r} cannot be enforced")

    def peek(self, count: int = 1) -> str:
        return self.text[self.at : self.at + count]

    def take(self, expected: str) -> bool:
        if not self.text.startswith(expected, self.at):
            return False
        self.at += len(expected)
        return True

    def next(self) -> str:
        if self.at >= len(self.text):
            raise self.error("an early end")
        self.at += 1
        return self.text[self.at - 1]

    def alternation(self, depth: int) -> Node:
        if depth > _MAX_DEPTH:
            raise self.refuse("deep nesting")
        options = [self.sequence(depth)]
        while self.take("|"):
            options.append(self.sequence(depth))
        return options[0] if len(options) == 1 else Alt(tuple(options))

    def sequence(self, depth: int) -> Node:
        items: list[Node] = []
        while self.peek() not in ("", "|", ")"):
            items.append(self.quantified(depth))
        return items[0] if len(items) == 1 else Concat(tuple(items))

    def quantified(self, depth: int) -> Node:
        node = self.atom(depth)
        bounds = self.quantifier()
        if bounds is None:
            return node
        if isinstance(node, (Anchor, Look)):
            raise self.refuse("a repeated assertion")
        self.take("?")  # lazy: the same language
        if self.peek() in ("*", "+", "?") or (self.peek() == "{" and self.quantifier()):
            raise self.refuse("a quantifier after a quantifier")
        return Repeat(node, *bounds)

    def quantifier(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self.take(sign):
                return bounds
        if self.peek() != "{":
            return None
        inside, brace, _ = self.text[self.at + 1 :].partition("}")
        low, comma, high = inside.partition(",")
        if not brace or not low.isdecimal() or not (high == "" or high.isdecimal()):
            return None
        if len(inside) > 20:
            raise self.refuse("a bound of so many digits")
        self.at += len(inside) + 2
        first = int(low)
        last = (int(high) if high else None) if comma else first
        if last is not None and last < first:
            raise self.error("bounds in the wrong order")
        return first, last

    def atom(self, depth: int) -> Node:
        char = self.next()
        if char == "(":
            return self.group(depth)
        if char == "[":
            return Chars(self.char_class())
        if char == "\\":
            return Chars(self.escape())
        if char == ".":
            ends = charset.chars("\n") if self.wide else charset.LINE_ENDS
            return Chars(charset.without(charset.ANY, ends))
        if char in "^$":
            return Anchor(char == "^")
        if char in "*+?":
            raise self.error("nothing to repeat")
        return Chars(charset.chars(char))

    def group(self, depth: int) -> Node:
        look: tuple[bool, bool] | None = None
        if self.take("?"):
            for sign, kind in (
                ("=", (True, False)),
                ("!", (True, True)),
                ("<=", (False, False)),
                ("<!", (False, True)),
            ):
                if self.take(sign):
                    look = kind
                    break
            else:
                if not self.take(":"):
                    self.name()
        wide = self.wide
        if look is not None and look[1]:
            self.wide = not wide  # what must not match here
        inside = self.alternation(depth + 1)
        self.wide = wide
        if not self.take(")"):
            raise self.error("an unmatched (")
        return inside if look is None else Look(inside, *look)

    def name(self) -> None:
        """The name of a group, as ECMAScript and as Python write it."""
        start = self.at
        self.take("P")
        end = self.text.find(">", self.at)
        if not self.take("<") or end < 0 or not self.text[self.at : end].isidentifier():
            self.at = start
            raise self.refuse(f"(?{self.peek()}")
        self.at = end + 1

    def escape(self, in_class: bool = False) -> CharSet:
        char = self.next()
        if char in "dDsSwW":
            return self.shorthand(char)
        if char in "pP":
            return self.property(char == "P")
        if char in _CONTROLS:
            if char == "0" and self.peek().isdigit():
                raise self.refuse("an octal escape")
            return charset.chars(_CONTROLS[char])
        if char == "b" and in_class:
            return charset.chars("\b")
        if char == "c" and self.peek().isascii() and self.peek().isalpha():
            return charset.chars(chr(ord(self.next()) % 32))
        if char in "xu":
            return self.code(char)
        if char.isascii() and char.isalnum():
            kind = "a back reference" if char.isdigit() or char == "k" else f"\\{char}"
            raise self.refuse("a word boundary" if char in "bB" else kind)
        return charset.chars(char)

    def code(self, kind: str) -> CharSet:
        digits = ""
        if kind == "u" and self.take("{"):
            digits, brace, _ = self.text[self.at :].partition("}")
            self.at += len(digits) + len(brace)
        else:
            size = 2 if kind == "x" else 4
            digits = self.peek(size)
            self.at += size
            if len(digits) != size:
                raise self.error("a short escape")
        if not 0 < len(digits) <= 8 or not set(digits) <= set("0123456789abcdefABCDEF"):
            raise self.error("an escape that is no number")
        value = int(digits, 16)
        if 0xD800 <= value <= 0xDFFF or value > charset.LAST:
            raise self.refuse("half of a surrogate pair")
        return ((value, value),)

    def shorthand(self, char: str) -> CharSet:
        # A negated class of all dialects is what none of them has in the class itself.
        wide = self.wide != char.isupper()
        kind = char.lower()
        if kind == "d":
            ranges = charset.some_digit() if wide else charset.DIGIT
        elif kind == "w":
            ranges = charset.SOME_WORD if wide else charset.WORD
        else:
            ranges = charset.SOME_SPACE if wide else charset.SPACE
        return charset.without(charset.ANY, ranges) if char.isupper() else ranges

    def property(self, negated: bool) -> CharSet:
        inside, brace, _ = self.text[self.at :].partition("}")
        if not inside.startswith("{") or not brace:
            raise self.error("a property without a name")
        self.at += len(inside) + 1
        name = inside[1:].removeprefix("General_Category=").removeprefix("gc=")
        if not (1 <= len(name) <= 2 and name[0].isupper() and name[1:].islower() == bool(name[1:])):
            raise self.refuse(f"\\p{{{name}}}")
        ranges = charset.category(name)
        return charset.without(charset.ANY, ranges) if negated else ranges

    def char_class(self) -> CharSet:
        negated = self.take("^")
        if self.peek() == "]":
            raise self.refuse("an empty class, which dialects read in two ways")
        wide, self.wide = self.wide, self.wide != negated
        ranges: list[tuple[int, int]] = []
        while not self.take("]"):
            low = self.class_item()
            if self.peek() == "-" and self.peek(2) != "-]":
                self.at += 1
                high = self.class_item()
                if any(len(end) != 1 or end[0][0] != end[0][1] for end in (low, high)):
                    raise self.refuse("a range between classes")
                if low[0][0] > high[0][1]:
                    raise self.error("a range in the wrong order")
                ranges.append((low[0][0], high[0][1]))
            else:
                ranges.extend(low)
        self.wide = wide
        found = charset.intersect(charset.union(ranges), charset.ANY)
        return charset.without(charset.ANY, found) if negated else found

    def class_item(self) -> CharSet:
        char = self.next()
        return self.escape(in_class=True) if char == "\\" else charset.chars(char)
