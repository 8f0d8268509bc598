"""Grammars of answers, as llguidance's Lark text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property

#: Any text, none too.
TEXT = "CHAT_TEXT"


class Lark:
    """Rules that are written one after another.

    Args:
        special: ids of the tokens that stand for more than the text they are spelled with. What is
            written with such a token is that token in the grammar too, never the same text in
            ordinary tokens.
    """

    def __init__(self, special: Mapping[str, int]) -> None:
        self._special = special
        self._rules: dict[str, str] = {}
        self._foreign = ""

    @cached_property
    def _split(self) -> re.Pattern[str] | None:
        # Most requests have no grammar, and some vocabularies have hundreds of these.
        names = sorted(self._special, key=len, reverse=True)
        return re.compile(f"({'|'.join(map(re.escape, names))})") if names else None

    def text(self, text: str) -> str:
        """The expression for this text, special tokens recognized."""
        parts = self._split.split(text) if self._split else [text]
        return " ".join(
            f"<[{self._special[part]}]>" if part in self._special else quote(part)
            for part in parts
            if part
        )

    def until(self, marker: str, text: str = TEXT) -> str:
        """Text up to and with the first ``marker``, however it is spelled.

        Args:
            marker: what ends the text.
            text: the terminal of the text; any text, if not given.
        """
        spelled = self.rule(f"{text} {quote(marker)}", lazy=True)
        if marker in self._special:
            return f"({text} {self.text(marker)} | {spelled})"
        return spelled

    def json(self, schema: str) -> str:
        """A value of a JSON schema, given as llguidance takes it."""
        return self.rule(f"%json {schema}")

    def rule(self, body: str, lazy: bool = False) -> str:
        """A rule of its own; equal ones are one. Returns its name."""
        return self._named("chat", f"{'[lazy]' if lazy else ''}: {body}")

    def terminal(self, body: str) -> str:
        """A terminal, likewise."""
        return self._named("CHAT", f": {body}")

    def reserve(self) -> str:
        """The name of a rule that :meth:`define` gives its body, which may name the rule."""
        name = f"chat_{len(self._rules)}"
        self._rules[name] = ""
        return name

    def define(self, name: str, body: str) -> None:
        """The body of a reserved rule."""
        self._rules[name] = f": {body}"

    def _named(self, kind: str, text: str) -> str:
        for name, known in self._rules.items():
            if known == text and name.startswith(kind):
                return name
        name = f"{kind}_{len(self._rules)}"
        self._rules[name] = text
        return name

    def foreign(self, grammar: str) -> str:
        """The rules of a grammar that somebody else wrote. Returns the name of its start."""
        self._foreign = _WORD.sub(
            lambda found: "answer_start" if found[0] == "start" else found[0], grammar
        )
        return "answer_start"

    def grammar(self, start: str) -> str:
        """The whole text."""
        rules = {"start": f": {start}", **self._rules, TEXT: r": /(?s:.*)/"}
        own = "".join(f"{name}{body}\n" for name, body in rules.items())
        return f"{self._foreign}\n{own}" if self._foreign else own


#: Strings, comments and regular expressions are read over, so that only names are left.
_WORD = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|\#[^\n]*|/(?:\\.|[^/\\\n])+/|[A-Za-z_][\w-]*')


def quote(text: str) -> str:
    """A string literal."""
    return json.dumps(text, ensure_ascii=False)


def regex(pattern: str) -> str:
    """A regular expression as a literal."""
    escaped = _TO_ESCAPE.sub(lambda found: _ESCAPED.get(found[0], found[0]), pattern)
    return f"/(?:{escaped})/"


_TO_ESCAPE = re.compile(r"\\.|/|\n", re.DOTALL)
_ESCAPED = {"/": r"\/", "\n": r"\n"}


def either(options: Sequence[str]) -> str:
    """One of several expressions."""
    return options[0] if len(options) == 1 else f"({' | '.join(options)})"
