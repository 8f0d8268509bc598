"""From what a caller asks for to text that llguidance compiles."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from vllm_swift_engine.errors import InvalidGrammarError

from .params import StructuredOutputsParams

#: One space, or one line end and an indent: what models write, and never whitespace for ever.
WHITESPACE_PATTERN = r"[ ]|\r?\n[ \t]{0,32}"
#: Every character has one way to be written, so that an escaped key is no second key.
_ESCAPES = 'nrbtf\\"'


@dataclass(frozen=True)
class GrammarSource:
    """A grammar in llguidance's terms: what ``llg_new_matcher`` takes."""

    kind: Literal["json_schema", "regex", "lark"]
    text: str


def grammar_source(params: StructuredOutputsParams) -> GrammarSource:
    """The grammar of a request.

    Raises:
        InvalidGrammarError: it cannot be read, or no output satisfies it.
        UnsupportedSchemaError: in strict mode, a keyword of the schema cannot be enforced.
    """
    if params.choice is not None:
        return GrammarSource("regex", "|".join(_literal(one) for one in params.choice))
    if params.regex is not None:
        return GrammarSource("regex", params.regex)
    if params.grammar is not None:
        return GrammarSource("lark", lark(params.grammar))
    schema: Any = {"type": "object"} if params.json_object else params.json
    return GrammarSource("json_schema", _schema(schema, params))


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


def _schema(schema: Any, params: StructuredOutputsParams) -> str:
    try:
        parsed = json.loads(schema) if isinstance(schema, str) else schema
        root = dict(parsed) if isinstance(parsed, dict) else {"allOf": [parsed]}
        root["x-guidance"] = _options(params)
        return json.dumps(root, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidGrammarError(f"json is no JSON schema: {error}") from error


def _options(params: StructuredOutputsParams) -> dict[str, Any]:
    options: dict[str, Any] = {"json_allowed_escapes": _ESCAPES, "whitespace_flexible": False}
    if not params.disable_any_whitespace:
        options["whitespace_pattern"] = params.whitespace_pattern or WHITESPACE_PATTERN
    return options
