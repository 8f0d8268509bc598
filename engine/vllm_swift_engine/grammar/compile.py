"""From what a caller asks for to text that llguidance compiles."""

from __future__ import annotations

import re
import warnings

from vllm_swift_engine.errors import InvalidGrammarError, UnenforcedSchemaWarning

from . import charset
from .language import whole
from .params import StructuredOutputsParams
from .regex import parse
from .regex_text import only, regex_text, whole_text
from .schema import schema_text
from .source import GrammarSource

#: One space, or one line end and an indent: what models write, and never whitespace for ever.
WHITESPACE_PATTERN = r"[ ]|\r?\n[ \t]{0,32}"
_JSON_SPACE = charset.chars(" \t\n\r")


def compiled(params: StructuredOutputsParams) -> GrammarSource:
    """As :func:`.source.grammar_source`."""
    if params.choice is not None:
        return GrammarSource("regex", "|".join(_literal(one) for one in params.choice))
    if params.regex is not None:
        return GrammarSource("regex", _regex(params.regex))
    if params.grammar is not None:
        return GrammarSource("lark", lark(params.grammar))
    text, dropped = schema_text(
        {"type": "object"} if params.json is None else params.json,
        strict=params.strict,
        disable_additional_properties=params.disable_additional_properties,
        whitespace=_whitespace(params),
    )
    for what in dropped:
        warnings.warn(f"Left out: {what}", UnenforcedSchemaWarning, stacklevel=2)
    return GrammarSource("json_schema", text)


def lark(grammar: str) -> str:
    """A Lark grammar as it is, and EBNF (``root ::= ...``) as Lark.

    Raises:
        InvalidGrammarError: it is neither, or empty.
    """
    if not grammar.strip():
        raise InvalidGrammarError("grammar is empty.")
    # The wheel's native library is wanted here for the first time; most requests have no grammar.
    from llguidance.gbnf_to_lark import any_to_lark

    try:
        return str(any_to_lark(grammar))
    except Exception as error:
        raise InvalidGrammarError(f"grammar is no EBNF: {error}") from error


def _literal(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", lambda found: rf"\x{{{ord(found[0]):x}}}", text)


def _regex(pattern: str) -> str:
    try:
        text = whole_text(whole(pattern))
    except InvalidGrammarError as error:
        raise InvalidGrammarError(f"regex: {error}.") from error
    if text is None:
        raise InvalidGrammarError(f"regex: nothing matches {pattern!r}.")
    return text


def _whitespace(params: StructuredOutputsParams) -> str | None:
    if params.disable_any_whitespace:
        return None
    if params.whitespace_pattern is None:
        return WHITESPACE_PATTERN
    try:
        tree = parse(params.whitespace_pattern.replace(r"\s", r"[ \t\n\r]"))
    except InvalidGrammarError as error:
        raise InvalidGrammarError(f"whitespace_pattern: {error}.") from error
    if not only(tree, _JSON_SPACE):
        raise InvalidGrammarError(
            f"whitespace_pattern {params.whitespace_pattern!r} matches what JSON has no place for."
        )
    return regex_text(tree)
