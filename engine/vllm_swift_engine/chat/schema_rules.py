"""Grammars of values in formats that write no JSON, from schemas in the forms that we compile to.

The schema is one that :func:`vllm_swift_engine.grammar.grammar_source` gave: what it has left of
JSON schema's keywords is what is read here.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any

from vllm_swift_engine.errors import UnenforcedSchemaWarning, UnsupportedSchemaError

from .lark import Lark, regex

#: A schema, or True for any value, or False for none.
Schema = Any


class SchemaRules:
    """Expressions for the values of one compiled schema.

    Args:
        lark: where rules go.
        schema: the compiled schema's JSON text.
        strict: what cannot be enforced is refused; else it is left out with a warning.
    """

    def __init__(self, lark: Lark, schema: str, strict: bool) -> None:
        self.lark = lark
        self._strict = strict
        self.root: dict[str, Any] = json.loads(schema)
        self._options = self.root.pop("x-guidance", {})
        self._definitions = self.root.pop("$defs", {})

    def resolved(self, schema: Schema) -> Schema:
        """The schema that a reference names, or the schema itself."""
        while isinstance(schema, dict) and "$ref" in schema:
            schema = self._definitions[schema["$ref"].rpartition("/")[2]]
        return schema

    def alternatives(self, schema: Schema) -> list[Schema]:
        """What a value may be one of, references and alternatives of alternatives resolved."""
        schema = self.resolved(schema)
        if isinstance(schema, dict) and "anyOf" in schema:
            return [one for option in schema["anyOf"] for one in self.alternatives(option)]
        if isinstance(schema, dict) and isinstance(schema.get("type"), list):
            return [{**schema, "type": kind} for kind in schema["type"]]
        return [schema]

    def json(self, schema: Schema) -> str:
        """The rule for a value in JSON."""
        whole = dict(schema) if isinstance(schema, dict) else {} if schema else {"not": {}}
        whole["x-guidance"] = self._options
        if self._definitions:
            whole["$defs"] = self._definitions
        return self.lark.json(json.dumps(whole, ensure_ascii=False))

    def text(self, schema: Mapping[str, Any], end: str) -> str:
        """The expression for a string as plain text, up to and with ``end``."""
        conditions = []
        if "minLength" in schema or "maxLength" in schema:
            length = f"{schema.get('minLength', 0)},{schema.get('maxLength', '')}"
            conditions.append(f"/(?s:.{{{length}}})/")
        if "pattern" in schema:
            conditions.append(regex(str(schema["pattern"]).removeprefix("^").removesuffix("$")))
        if not conditions:
            return self.lark.until(end)
        other = regex(rf"(?s:.*){_escaped(end)}(?s:.*)")
        terminal = self.lark.terminal(" & ".join([*conditions, f"~{other}"]))
        return self.lark.until(end, terminal)

    def properties(self, schema: Schema) -> dict[str, Schema]:
        """An object's named properties that may be there."""
        named = schema.get("properties", {}) if isinstance(schema, dict) else {}
        return {name: value for name, value in named.items() if value is not False}

    def free_properties(self, schema: Schema) -> tuple[Schema, int, int | None] | None:
        """What an object without named properties has: of which schema, how many at least, at most.

        An object that names some has no others here, even where it may: a model makes them up.

        Raises:
            UnsupportedSchemaError: patterns of names, or a number of named properties, in strict
                mode.
        """
        if not isinstance(schema, dict):
            return (True, 0, None)
        for keyword in ("patternProperties", "minProperties", "maxProperties"):
            if keyword in schema and (keyword == "patternProperties" or self.properties(schema)):
                self._drop(keyword)
        value = schema.get("additionalProperties", True)
        if self.properties(schema) or value is False:
            return None
        return (value, schema.get("minProperties", 0), schema.get("maxProperties"))

    def _drop(self, keyword: str) -> None:
        reason = "the model's chat format has no grammar for it."
        if self._strict:
            raise UnsupportedSchemaError(keyword, "", reason)
        warnings.warn(f"Left out: {keyword!r}; {reason}", UnenforcedSchemaWarning, stacklevel=2)


def _escaped(text: str) -> str:
    return "".join(rf"\x{{{ord(one):x}}}" for one in text)
