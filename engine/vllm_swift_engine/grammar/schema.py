"""A JSON schema as text that llguidance compiles to exactly its instances, or to a part of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from vllm_swift_engine.errors import InvalidGrammarError, UnsupportedSchemaError

from .document import check, load
from .emit import emit
from .expand import Expander
from .facts import Atom
from .graph import Graph

#: Every character has one way to be written, so that no key has an escaped twin.
_ESCAPES = 'nrbtf\\"'
#: Keywords that non-strict mode may drop from one schema.
_MAX_DROPPED = 200


def schema_text(
    schema: str | Mapping[str, Any],
    *,
    strict: bool,
    disable_additional_properties: bool,
    whitespace: str | None,
) -> tuple[str, tuple[str, ...]]:
    """The schema for llguidance, also after ``%json`` in Lark, and what it leaves out.

    Args:
        schema: draft 2020-12 (2019-09, 07 and 06 where they agree).
        strict: nothing is left out.
        disable_additional_properties: objects that name properties have no others.
        whitespace: a regex for what may stand between tokens; None is nothing.

    Raises:
        InvalidGrammarError: it is no schema, no value satisfies it, or it is too large.
        UnsupportedSchemaError: in strict mode, a keyword cannot be enforced.
    """
    if isinstance(schema, str):
        text = schema
    else:
        check(schema)
        text = json.dumps(schema, default=dict)
    plain, dropped = _compiled(text, strict, disable_additional_properties)
    options: dict[str, Any] = {"json_allowed_escapes": _ESCAPES, "whitespace_flexible": False}
    if whitespace is not None:
        options["whitespace_pattern"] = whitespace
    rest = plain[1:] if plain == "{}" else "," + plain[1:]
    return f'{{"x-guidance":{json.dumps(options)}{rest}', dropped


@lru_cache(maxsize=256)
def _compiled(text: str, strict: bool, closed: bool) -> tuple[str, tuple[str, ...]]:
    if strict:
        return _emitted(text, closed), ()
    dropped: list[str] = []
    while True:
        try:
            return _emitted(text, closed), tuple(dropped)
        except UnsupportedSchemaError as error:
            if len(dropped) == _MAX_DROPPED:
                raise
            dropped.append(str(error))
            text = _without(text, error)


def _emitted(text: str, closed: bool) -> str:
    document = load(text)
    try:
        graph = Graph((Atom(document.root),), Expander(document), closed)
        root = graph.states[graph.root]
        if not root.alive:
            keyword, path = root.culprit
            because = f": see {keyword!r} at {path}" if keyword else ""
            raise InvalidGrammarError(f"no value satisfies the schema of json{because}.")
        return json.dumps(emit(graph), ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        raise InvalidGrammarError("json is too deep.") from None


def _without(text: str, error: UnsupportedSchemaError) -> str:
    """The schema without a keyword; of ``oneOf``, what is left is ``anyOf``."""
    schema = copy.deepcopy(json.loads(text))
    *parents, keyword = (
        part.replace("~1", "/").replace("~0", "~") for part in error.path.split("/")[1:]
    )
    at: Any = schema
    for part in parents:
        at = at[int(part)] if isinstance(at, list) else at.get(part)
    if not isinstance(at, dict) or keyword not in at:
        raise error
    value = at.pop(keyword)
    if keyword == "oneOf":
        at.setdefault("allOf", []).append({"anyOf": value})
    return json.dumps(schema)
