"""Trees of regexes as text for llguidance."""

from __future__ import annotations

from . import charset
from .automaton import as_regex
from .charset import CharSet
from .language import Language
from .regex import Alt, Chars, Concat, Node, Repeat


def texts(language: Language, *, single: bool = False) -> list[str] | None:
    """Anchored regexes that a string of the language matches each of; None where there is none.

    Args:
        language: of strings.
        single: make it one regex.

    Raises:
        UnsupportedRegexError: what it excludes makes it too large.
    """
    trees: tuple[Node, ...] = language.include
    if language.exclude or single:
        tree = as_regex(language)
        if tree is None:
            return None
        trees = (tree,)
    if any(_empty(tree) for tree in trees):
        return None
    return [f"^(?:{regex_text(tree)})$" for tree in trees]


def whole_text(language: Language) -> str | None:
    """One regex for all of the language; None where it is empty.

    Raises:
        UnsupportedRegexError: it would be too large.
    """
    plain = len(language.include) == 1 and not language.exclude
    tree = language.include[0] if plain else as_regex(language)
    return None if tree is None or _empty(tree, charset.ANY) else regex_text(tree)


def _empty(node: Node, within: CharSet = charset.WRITABLE) -> bool:
    if isinstance(node, Chars):
        return not charset.intersect(node.ranges, within)
    if isinstance(node, Concat):
        return any(_empty(item, within) for item in node.items)
    if isinstance(node, Alt):
        return all(_empty(option, within) for option in node.options)
    return isinstance(node, Repeat) and node.low > 0 and _empty(node.item, within)


def only(node: Node, ranges: CharSet) -> bool:
    """Whether a tree without assertions has no other characters."""
    if isinstance(node, Chars):
        return not charset.without(node.ranges, ranges)
    if isinstance(node, Concat):
        return all(only(item, ranges) for item in node.items)
    if isinstance(node, Alt):
        return all(only(option, ranges) for option in node.options)
    return isinstance(node, Repeat) and only(node.item, ranges)


def regex_text(node: Node) -> str:
    """A tree without assertions as llguidance reads it."""
    if isinstance(node, Chars):
        return _chars(node.ranges)
    if isinstance(node, Concat):
        return "".join(
            regex_text(item) if not isinstance(item, Alt) else f"(?:{regex_text(item)})"
            for item in node.items
        )
    if isinstance(node, Alt):
        return "|".join(
            regex_text(option) for option in node.options if not _empty(option, charset.ANY)
        )
    assert isinstance(node, Repeat)
    if node.high == 0 or _empty(node.item, charset.ANY):
        return ""
    bounds = f"{{{node.low},{'' if node.high is None else node.high}}}"
    short = {"{0,}": "*", "{1,}": "+", "{0,1}": "?"}.get(bounds, bounds)
    inside = regex_text(node.item)
    return (inside if isinstance(node.item, Chars) else f"(?:{inside})") + short


def _chars(ranges: CharSet) -> str:
    if ranges == charset.ANY:
        return "(?s:.)"
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return _char(ranges[0][0])
    rest = charset.complement(ranges)
    sign, shown = ("^", rest) if len(rest) < len(ranges) else ("", ranges)
    shown = charset.intersect(shown, charset.ANY)
    pairs = (_char(low) + (f"-{_char(high)}" if low < high else "") for low, high in shown)
    return f"[{sign}{''.join(pairs)}]"


def _char(code: int) -> str:
    char = chr(code)
    if char.isascii() and (char.isalnum() or char == "_"):
        return char
    return f"\\x{{{code:x}}}"
