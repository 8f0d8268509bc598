"""A JSON schema as it was given: checked for its size, and where its references point."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

from vllm_swift_engine.errors import InvalidGrammarError, UnsupportedSchemaError

_MAX_TEXT = 4_000_000
_MAX_DEPTH = 200
_MAX_VALUES = 100_000
#: Values of these keywords are data, not schemas.
_DATA = ("const", "enum", "default", "examples")
#: In these drafts a ``$ref`` hides the keywords beside it.
_LONELY_REF = ("draft-06", "draft-07")
_DRAFTS = {
    "https://json-schema.org/draft/2020-12/schema": "2020-12",
    "https://json-schema.org/draft/2019-09/schema": "2019-09",
    "http://json-schema.org/draft-07/schema": "draft-07",
    "http://json-schema.org/draft-06/schema": "draft-06",
}
#: Begins what was added to a pointer to tell apart schemas that are not in the document.
MADE = "\0"


@dataclass(frozen=True, eq=False)
class Node:
    """A schema, and a JSON pointer to it."""

    value: Any
    path: str
    #: The keyword that a schema which is not in the document follows from, and where it is.
    source: tuple[str, str] | None = None

    def child(self, *keys: str | int) -> Node:
        """The schema below, which may be a node of elsewhere."""
        value, path = self.value, self.path
        for key in keys:
            value = value[key]
            path += "/" + str(key).replace("~", "~0").replace("/", "~1")
        return value if isinstance(value, Node) else Node(value, path, self.source)

    def made(self, value: Any, name: str, source: tuple[str, str]) -> Node:
        """A schema that follows from a keyword of this one."""
        return Node(value, f"{self.path}{MADE}{name}", source)

    def where(self, keyword: str) -> tuple[str, str]:
        """A keyword and a pointer to it; for a schema that was made, to what it follows from."""
        return self.source or (keyword, f"{self.path}/{keyword}")

    def at(self, keyword: str) -> str:
        """The pointer alone."""
        return self.where(keyword)[1]


@dataclass
class Document:
    """A whole schema."""

    root: Node
    draft: str
    _targets: dict[str, Node] = field(default_factory=dict)
    _bases: dict[str, str] = field(default_factory=dict)
    _dynamic: dict[str, list[Node]] = field(default_factory=dict)

    @property
    def lonely_ref(self) -> bool:
        """Whether a ``$ref`` hides the keywords beside it."""
        return self.draft in _LONELY_REF

    def target(self, node: Node, keyword: str) -> Node:
        """What a ``$ref`` or ``$dynamicRef`` points to.

        Raises:
            UnsupportedSchemaError: something outside of the document.
            InvalidGrammarError: nothing.
        """
        reference = node.value[keyword]
        if not isinstance(reference, str):
            raise InvalidGrammarError(f"{keyword} at {node.at(keyword)} must be a string.")
        base = self._bases.get(node.path, "")
        uri, fragment = urldefrag(urljoin(base, reference))
        if not reference.startswith("#") and uri not in self._targets:
            reason = f"{reference!r} is not in this schema."
            raise UnsupportedSchemaError(*node.where(keyword), reason)
        if keyword == "$dynamicRef" and len(self._dynamic.get(fragment, ())) > 1:
            reason = f"there is more than one $dynamicAnchor {fragment!r}."
            raise UnsupportedSchemaError(*node.where(keyword), reason)
        start = self._targets.get(uri, self.root)
        if fragment and not fragment.startswith("/"):
            found = self._targets.get(f"{uri}#{fragment}")
        else:
            found = _follow(start, fragment)
        if found is None or not isinstance(found.value, (bool, Mapping)):
            raise InvalidGrammarError(
                f"{keyword} at {node.at(keyword)} points to no schema: {reference!r}."
            )
        return found


def load(schema: str | Mapping[str, Any]) -> Document:
    """A schema, from JSON text or the value itself.

    Raises:
        InvalidGrammarError: it is no JSON, no schema, or far too large or deep.
        UnsupportedSchemaError: an older draft.
    """
    if isinstance(schema, str):
        if len(schema) > _MAX_TEXT:
            raise InvalidGrammarError(f"json is too large: {len(schema)} characters.")
        try:
            schema = json.loads(schema)
        except (ValueError, RecursionError) as error:
            raise InvalidGrammarError(f"json is no JSON: {error}") from error
    if not isinstance(schema, (bool, Mapping)):
        raise InvalidGrammarError(
            f"json must be a schema: an object, true or false, not {schema!r:.80}."
        )
    check(schema)
    document = Document(Node(schema, ""), _draft(schema))
    document._targets[""] = document.root
    for node, base in _walk(document.root):
        _register(document, node, base)
    return document


def _draft(schema: Any) -> str:
    named = schema.get("$schema") if isinstance(schema, Mapping) else None
    if named is None:
        return "2020-12"
    draft = _DRAFTS.get(named.rstrip("#")) if isinstance(named, str) else None
    if draft is None:
        raise UnsupportedSchemaError("$schema", "/$schema", f"the dialect {named!r} is not known.")
    return draft


def check(value: Any) -> None:
    """Holds a value to what JSON has, and to the limits.

    Raises:
        InvalidGrammarError: it holds something else, or is too large or too deep.
    """
    count = 0
    todo = [(value, 0)]
    while todo:
        value, depth = todo.pop()
        count += 1
        if count > _MAX_VALUES or depth > _MAX_DEPTH:
            limit = f"more than {_MAX_VALUES} values" if count > _MAX_VALUES else "too deep"
            raise InvalidGrammarError(f"json is too large: {limit}.")
        if isinstance(value, Mapping):
            for key in value:
                if not isinstance(key, str):
                    raise InvalidGrammarError(f"json has a key that is no string: {key!r}.")
                _check_text(key)
            todo += [(item, depth + 1) for item in value.values()]
        elif isinstance(value, (list, tuple)):
            todo += [(item, depth + 1) for item in value]
        elif isinstance(value, str):
            _check_text(value)
        elif isinstance(value, float):
            if not math.isfinite(value):
                raise InvalidGrammarError(f"json holds {value!r}, which JSON has not.")
        elif not isinstance(value, (int, type(None))):
            raise InvalidGrammarError(f"json holds {value!r:.80}, which JSON has not.")


def _check_text(text: str) -> None:
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise InvalidGrammarError(f"json holds half of a surrogate pair: {text!r:.80}.")


def _walk(root: Node) -> Iterator[tuple[Node, str]]:
    """Every object that may be a schema, with the URI that its references are relative to."""
    todo: list[tuple[Node, str]] = [(root, "")]
    while todo:
        node, base = todo.pop()
        if isinstance(node.value, Mapping):
            own = node.value.get("$id")
            if isinstance(own, str):
                base = urldefrag(urljoin(base, own))[0]
            yield node, base
            keys: list[str | int] = [key for key in node.value if key not in _DATA]
        elif isinstance(node.value, (list, tuple)):
            keys = list(range(len(node.value)))
        else:
            continue
        todo += [(node.child(key), base) for key in keys]


def _register(document: Document, node: Node, base: str) -> None:
    value = node.value
    if isinstance(value.get("$id"), str):
        document._targets.setdefault(base, node)
    for keyword in ("$anchor", "$dynamicAnchor"):
        name = value.get(keyword)
        if isinstance(name, str):
            document._targets.setdefault(f"{base}#{name}", node)
            if keyword == "$dynamicAnchor":
                document._dynamic.setdefault(name, []).append(node)
    if "$ref" in value or "$dynamicRef" in value:
        document._bases[node.path] = base


def _follow(start: Node, pointer: str) -> Node | None:
    node = start
    for part in pointer.split("/")[1:]:
        key: str | int = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(node.value, (list, tuple)):
            if not str(key).isdecimal() or int(key) >= len(node.value):
                return None
            key = int(key)
        elif not isinstance(node.value, Mapping) or key not in node.value:
            return None
        node = node.child(key)
    return node
