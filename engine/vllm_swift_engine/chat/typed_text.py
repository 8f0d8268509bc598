"""Arguments that models write as text, made JSON by the types that their tool's schema gives."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any

from .sink import no_constant

_TYPE_NAMES: tuple[tuple[type, str], ...] = (
    (bool, "boolean"),
    (int, "integer"),
    (float, "number"),
    (str, "string"),
    (list, "array"),
    (dict, "object"),
    (type(None), "null"),
)
#: References in references.
_MAX_DEPTH = 16


def parameter_types(parameters: Mapping[str, Any], name: str) -> frozenset[str]:
    """The JSON types that a tool's parameter may have; none where the schema does not say."""
    properties = parameters.get("properties")
    schema = properties.get(name) if isinstance(properties, Mapping) else None
    return frozenset(_types(schema, parameters, _MAX_DEPTH))


def _types(schema: Any, root: Mapping[str, Any], depth: int) -> set[str]:
    if not isinstance(schema, Mapping) or not depth:
        return set()
    declared = schema.get("type")
    if isinstance(declared, str):
        return {declared}
    if isinstance(declared, (list, tuple)):
        return {one for one in declared if isinstance(one, str)}
    if "const" in schema:
        return {type_name(schema["const"])}
    if isinstance(schema.get("enum"), (list, tuple)):
        return {type_name(value) for value in schema["enum"]}
    if isinstance(reference := schema.get("$ref"), str):
        return _types(_target(root, reference), root, depth - 1)
    for keyword in ("anyOf", "oneOf", "allOf"):
        if isinstance(options := schema.get(keyword), (list, tuple)):
            found = [_types(option, root, depth - 1) for option in options]
            # One that may be anything leaves nothing said, unless all must hold.
            if keyword == "allOf" or all(found):
                return set().union(*found)
    return set()


def _target(root: Mapping[str, Any], reference: str) -> Any:
    value: Any = root
    for part in reference.removeprefix("#").split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def type_name(value: Any) -> str:
    """The JSON type of a value."""
    return next(name for kind, name in _TYPE_NAMES if isinstance(value, kind))


def to_json(text: str, types: frozenset[str]) -> str:
    """The JSON of a parameter's text. What is of none of its types stays a string."""
    word = text.strip()
    if "null" in types and word in ("null", "None"):
        return "null"
    if "string" in types:
        return json.dumps(text, ensure_ascii=False)
    if "boolean" in types and word.lower() in ("true", "false"):
        return word.lower()
    wanted = types or {"array", "object"}
    json_text = _json_text(word)
    value = json.loads(json_text) if json_text else None
    if isinstance(value, float) and value.is_integer() and "number" not in types:
        value = int(value)
        json_text = str(value)
    kind = None if value is None else type_name(value)
    if json_text and (kind in wanted or (kind == "integer" and "number" in wanted)):
        return json_text
    return json.dumps(text, ensure_ascii=False)


def _json_text(text: str) -> str | None:
    """A value's JSON, of a text in JSON or as Python writes it; None where it is neither."""
    try:
        json.loads(text, parse_constant=no_constant)
    except (ValueError, RecursionError):
        pass
    else:
        return text
    # Python warns of escapes that it does not know.
    if not text.startswith(("{", "[", "(")) or "\\" in text:
        return None
    try:
        return json.dumps(ast.literal_eval(text), ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
