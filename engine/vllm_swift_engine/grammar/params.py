"""What an output has to look like, under vLLM's names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from vllm_swift_engine.errors import InvalidArgumentError, InvalidGrammarError, UnsupportedError

_CONSTRAINTS = ("json", "regex", "choice", "grammar", "json_object")
_STRINGS = ("regex", "grammar", "whitespace_pattern")
_FLAGS = ("json_object", "disable_any_whitespace", "disable_additional_properties", "strict")
#: What shapes JSON alone, and its default.
_OF_JSON: dict[str, Any] = {
    "whitespace_pattern": None,
    "disable_any_whitespace": False,
    "disable_additional_properties": False,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class StructuredOutputsParams:
    """The grammar that holds one output. Exactly one of the first five fields is given.

    Fields:
        json: a JSON schema, draft 2020-12, as a dict or as JSON text.
        regex: the whole output matches it; a search is written ``.*pattern.*``.
        choice: the output is one of these strings.
        grammar: Lark as llguidance has it, or EBNF as llama.cpp and vLLM have it (``root ::= a``).
        json_object: any JSON object.
        whitespace_pattern: a regex for what may stand between the tokens of JSON. None allows one
            space, or one line end with at most 32 spaces or tabs.
        disable_any_whitespace: nothing stands between them.
        disable_additional_properties: an object that names properties has no others, where its
            schema does not say.
        strict: a keyword of a schema that cannot be enforced is refused; else it is dropped with an
            ``UnenforcedSchemaWarning``.

    Raises:
        InvalidArgumentError: not exactly one grammar, or a value of the wrong type.
        InvalidGrammarError: an empty choice, or text that is not Unicode.
        UnsupportedError: vLLM's ``structural_tag``.
    """

    json: str | Mapping[str, Any] | None = None
    regex: str | None = None
    choice: Sequence[str] | None = None
    grammar: str | None = None
    json_object: bool = False
    whitespace_pattern: str | None = None
    disable_any_whitespace: bool = False
    disable_additional_properties: bool = False
    structural_tag: str | None = None
    strict: bool = True

    def __post_init__(self) -> None:
        if self.structural_tag is not None:
            raise UnsupportedError("structural_tag is not supported; write its grammar in Lark.")
        if getattr(self, "json_object") is None:  # noqa: B009 vLLM's default
            object.__setattr__(self, "json_object", False)
        for name in _FLAGS:
            if not isinstance(getattr(self, name), bool):
                raise InvalidArgumentError(f"{name} must be a bool, not {getattr(self, name)!r}.")
        given = [name for name in _CONSTRAINTS if getattr(self, name) not in (None, False)]
        if len(given) != 1:
            raise InvalidArgumentError(
                f"structured_outputs needs exactly one of {', '.join(_CONSTRAINTS)}, and has "
                f"{' and '.join(given) or 'none'}."
            )
        for name in _STRINGS:
            self._text(name)
        self._choice()
        if not isinstance(self.json, (str, Mapping, type(None))):
            raise InvalidArgumentError(
                f"json must be a schema as a dict or as JSON text, not {self.json!r}."
            )
        for name, default in _OF_JSON.items():
            if getattr(self, name) != default and given[0] not in ("json", "json_object"):
                raise InvalidArgumentError(f"{name} shapes JSON, and this is a {given[0]}.")
        if self.whitespace_pattern is not None and self.disable_any_whitespace:
            raise InvalidArgumentError("whitespace_pattern and disable_any_whitespace exclude.")

    @classmethod
    def of(cls, value: object) -> StructuredOutputsParams:
        """The value itself, or one made of a dict of its fields.

        Raises:
            InvalidArgumentError: it is neither, or has fields that there are not.
        """
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise InvalidArgumentError(
                f"structured_outputs must be StructuredOutputsParams or a dict, not {value!r}."
            )
        fields = [field.name for field in dataclasses.fields(cls)]
        for name in value:
            if name not in fields:
                raise InvalidArgumentError(
                    f"structured_outputs has no {name!r}; it has {', '.join(fields)}."
                )
        return cls(**value)

    def _text(self, name: str) -> None:
        value: Any = getattr(self, name)
        if value is None:
            return
        if not isinstance(value, str):
            raise InvalidArgumentError(f"{name} must be a string, not {value!r}.")
        _unicode(name, value)

    def _choice(self) -> None:
        value: Any = self.choice
        if value is None:
            return
        if not isinstance(value, (list, tuple)) or not all(isinstance(one, str) for one in value):
            raise InvalidArgumentError(f"choice must be a list of strings, not {value!r}.")
        if not value:
            raise InvalidGrammarError("choice is empty: no output is possible.")
        for one in value:
            _unicode("choice", one)
        object.__setattr__(self, "choice", tuple(value))


def _unicode(name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidGrammarError(
            f"{name} holds half of a surrogate pair, which no output can have: {text!r}."
        ) from None
