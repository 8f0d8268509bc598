"""The grammar of an answer: reasoning, then free text, tool calls, or what the caller asks for."""

from __future__ import annotations

from typing import Any

from vllm_swift_engine.grammar import StructuredOutputsParams, grammar_source

from .formats.base import ChatFormat, Function, Reasoning, Want
from .lark import Lark, regex
from .tools import ToolChoice

#: Of a tool without parameters.
_NO_PARAMETERS = {"type": "object", "properties": {}, "additionalProperties": False}

#: What models write after a marker, and never white space for ever.
SPACE = r"/[ \n]{0,4}/"


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
    if not choice.allowed:
        if answer is None:
            return None
        reasoning = _reasoning_rule(chat_format.reasoning, lark, prompt)
        if not reasoning:
            return answer
        return _params(lark, reasoning, _answer_rule(answer, lark))
    want = Want(
        functions=tuple(_function(tool, strict) for tool in choice.allowed),
        text=not choice.required,
        several=several,
        answer=None if answer is None else _answer_rule(answer, lark),
    )
    reasoning = _reasoning_rule(chat_format.reasoning, lark, prompt)
    return _params(lark, reasoning, chat_format.grammar(lark, want))


def _params(lark: Lark, reasoning: str, rest: str) -> StructuredOutputsParams:
    start = f"{reasoning} ({rest})" if reasoning else rest
    return StructuredOutputsParams(grammar=lark.grammar(start))


def _function(tool: dict[str, Any], strict: bool | None) -> Function:
    function = tool["function"]
    parameters = function.get("parameters") or _NO_PARAMETERS
    if strict is None:
        strict = bool(function.get("strict"))
    source = grammar_source(StructuredOutputsParams(json=parameters, strict=strict))
    return Function(function["name"], source.text, parameters)


def _answer_rule(answer: StructuredOutputsParams, lark: Lark) -> str:
    source = grammar_source(answer)
    if source.kind == "json_schema":
        return lark.json(source.text)
    if source.kind == "regex":
        return lark.terminal("ANSWER", regex(source.text))
    return lark.foreign(source.text)


def _reasoning_rule(reasoning: Reasoning | None, lark: Lark, prompt: str) -> str:
    """The expression for reasoning up to the answer; empty where there is none."""
    if reasoning is None or prompt.rstrip().endswith(reasoning.end):
        return ""
    rest = f"{lark.until(reasoning.end)} {lark.terminal('SPACE', SPACE)}"
    if reasoning.opened_by(prompt):
        return rest
    return f"({lark.text(reasoning.begin)} {rest})?"
