"""The grammar of an answer: reasoning, then free text, tool calls, or what the caller asks for."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from vllm_swift_engine.errors import InvalidArgumentError
from vllm_swift_engine.grammar import StructuredOutputsParams, grammar_source

from .formats.base import ChatFormat, Function, Want
from .lark import Lark, regex
from .tools import ToolChoice

#: Of a tool without parameters.
_NO_PARAMETERS = {"type": "object", "properties": {}, "additionalProperties": False}
#: What a schema may have besides no properties, and be of such a tool all the same.
_SAYING_NOTHING = {"type", "properties", "required", "title", "description"}


def answer_grammar(
    chat_format: ChatFormat,
    lark: Lark,
    prompt: str,
    choice: ToolChoice,
    *,
    several: bool,
    strict: bool | None,
    answer: StructuredOutputsParams | None,
) -> StructuredOutputsParams | None:
    """The grammar, or None where any text will do.

    Args:
        chat_format: the model's.
        lark: the grammar's rules, none yet.
        prompt: the rendered prompt; it may have begun the reasoning, or ended it.
        choice: the tools and whether one must be called.
        several: whether there may be several calls.
        strict: whether a tool's schema must be enforced whole; None leaves it to the tool.
        answer: what an answer without calls must be; None is any text.

    Raises:
        UnsupportedSchemaError: a schema has a keyword that cannot be enforced, and is strict.
        InvalidGrammarError: ``answer`` is not valid.
    """
    if not choice.allowed and (answer is None or chat_format.is_bare(prompt)):
        return answer
    want = Want(
        functions=tuple(_function(tool, strict) for tool in choice.allowed),
        text=not choice.required,
        several=several,
        answer=None if answer is None else _answer_rule(answer, lark),
    )
    reasoning = chat_format.reasoning_rule(lark, prompt)
    rest = chat_format.grammar(lark, want)
    start = f"{reasoning} ({rest})" if reasoning else rest
    return StructuredOutputsParams(grammar=lark.grammar(start))


def _function(tool: dict[str, Any], strict: bool | None) -> Function:
    function = tool["function"]
    parameters = function.get("parameters") or _NO_PARAMETERS
    if parameters.get("properties") == {} and parameters.keys() <= _SAYING_NOTHING:
        parameters = _NO_PARAMETERS
    if strict is None:
        strict = bool(function.get("strict"))
    try:
        text = json.dumps(parameters)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(
            f"The parameters of {function['name']!r} are not JSON: {error}."
        ) from None
    return Function(function["name"], _schema(text, strict), strict)


@lru_cache(maxsize=256)
def _schema(parameters: str, strict: bool) -> str:
    """The compiled schema: an agent sends the same tools with each of its requests."""
    # What a tool does not declare it does not take, whatever its schema leaves open.
    return grammar_source(
        StructuredOutputsParams(json=parameters, strict=strict, disable_additional_properties=True)
    ).text


def _answer_rule(answer: StructuredOutputsParams, lark: Lark) -> str:
    source = grammar_source(answer)
    if source.kind == "json_schema":
        return lark.json(source.text)
    if source.kind == "regex":
        return lark.terminal(regex(source.text))
    return lark.foreign(source.text)
