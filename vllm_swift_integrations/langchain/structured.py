"""What `with_structured_output` puts behind the model: answers to objects."""

from __future__ import annotations

import builtins
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from enum import Enum
from functools import reduce
from operator import add, itemgetter
from types import UnionType
from typing import Annotated, Any, get_origin

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.output_parsers import BaseTransformOutputParser
from langchain_core.output_parsers.openai_tools import (
    JsonOutputKeyToolsParser,
    JsonOutputToolsParser,
    PydanticToolsParser,
)
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool
from langchain_core.utils.json import parse_partial_json
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel, SkipValidation

from vllm_swift_integrations.langchain.tools import (
    SchemaLike,
    any_object,
    schema_outputs,
    tool_dicts,
)


class AnswerParser(BaseTransformOutputParser[Any]):
    """An answer in JSON to an object.

    Streamed, it gives dictionaries that grow, and an instance of a pydantic class at the end: half
    an instance could pass for a whole one. An answer that calls tools instead is None.

    Raises:
        OutputParserException: The answer was cut, or its class does not accept it.
    """

    pydantic_class: Annotated[type | None, SkipValidation()] = None
    """What instances are made of; None for dictionaries."""

    @property
    def _type(self) -> str:
        return "vllm-swift-answer"

    @property
    def OutputType(self) -> Any:
        """The pydantic class, or a dictionary."""
        return self.pydantic_class or dict[str, Any]

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """The object of a whole answer; of a part of one, what there is so far, or None."""
        generation = result[0]
        message = generation.message if isinstance(generation, ChatGeneration) else None
        if partial:
            return _begun(generation.text)
        return self._whole(generation.text, message)

    def parse(self, text: str) -> Any:
        """The object of a whole answer."""
        return self._whole(text, None)

    def _transform(self, input: Iterator[str | BaseMessage]) -> Iterator[Any]:
        answer = _Growing(self)
        for piece in input:
            yield from answer.add(piece)
        yield from answer.end()

    async def _atransform(self, input: AsyncIterator[str | BaseMessage]) -> AsyncIterator[Any]:
        answer = _Growing(self)
        async for piece in input:
            for parsed in answer.add(piece):
                yield parsed
        for parsed in answer.end():
            yield parsed

    def _whole(self, text: str, message: BaseMessage | None) -> Any:
        if not text and isinstance(message, AIMessage) and message.tool_calls:
            return None
        try:
            parsed = json.loads(text)
        except json.JSONDecodeError as error:
            raise OutputParserException(_why_broken(message, error), llm_output=text) from error
        if self.pydantic_class is None:
            return parsed
        try:
            return _instance(self.pydantic_class, parsed)
        except ValueError as error:
            name = self.pydantic_class.__name__
            raise OutputParserException(
                f"{name} does not accept the answer: {error}", llm_output=text
            ) from error


class _Growing:
    """The answer of a stream, and what has been handed out of it."""

    def __init__(self, parser: AnswerParser) -> None:
        self._parser = parser
        self._text = ""
        self._last: Any = None
        self._message: BaseMessage | None = None

    def add(self, piece: str | BaseMessage) -> Iterator[Any]:
        new = piece if isinstance(piece, str) else str(piece.text)
        if isinstance(piece, AIMessage) and (piece.tool_calls or piece.response_metadata):
            self._message = piece
        if new and self._parser.pydantic_class is None:
            yield from self._changed(_begun(self._text + new))
        self._text += new

    def end(self) -> Iterator[Any]:
        yield from self._changed(self._parser._whole(self._text, self._message))

    def _changed(self, parsed: Any) -> Iterator[Any]:
        if parsed is not None and parsed != self._last:
            self._last = parsed
            yield parsed


class _WholeCalls(JsonOutputToolsParser):
    """LangChain's parsers leave out a call that was cut, and complete one that was streamed."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        generation = result[0]
        if not partial and isinstance(generation, ChatGeneration):
            _refuse_cut(generation.message)
        return super().parse_result(result, partial=partial)

    def _transform(self, input: Iterator[str | BaseMessage]) -> Iterator[Any]:
        pieces: list[Any] = []
        last = None
        for last in super()._transform(_kept(input, pieces)):
            yield last
        yield from self._end(pieces, last)

    async def _atransform(self, input: AsyncIterator[str | BaseMessage]) -> AsyncIterator[Any]:
        pieces: list[Any] = []
        last = None
        async for last in super()._atransform(_akept(input, pieces)):
            yield last
        for parsed in self._end(pieces, last):
            yield parsed

    def _end(self, pieces: Sequence[Any], last: Any) -> Iterator[Any]:
        """The whole answer, where it is not what was handed out last."""
        if pieces:
            message = reduce(add, pieces)
            parsed = self.parse_result([ChatGeneration(message=message)])
            if parsed is not None and parsed != last:
                yield parsed


class _PydanticCall(_WholeCalls, PydanticToolsParser):
    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        return None if partial else super().parse_result(result)


class _KeyCall(_WholeCalls, JsonOutputKeyToolsParser):
    pass


def _kept(pieces: Iterator[Any], kept: list[Any]) -> Iterator[Any]:
    for piece in pieces:
        kept.append(piece)
        yield piece


async def _akept(pieces: AsyncIterator[Any], kept: list[Any]) -> AsyncIterator[Any]:
    async for piece in pieces:
        kept.append(piece)
        yield piece


def _refuse_cut(message: BaseMessage) -> None:
    """Raises where an answer has no whole call because it was cut."""
    if not isinstance(message, AIMessage):
        return
    if isinstance(message, AIMessageChunk):
        for piece in message.tool_call_chunks:
            try:
                json.loads(piece["args"] or "{}")
            except json.JSONDecodeError as error:
                raise OutputParserException(
                    _why_broken(message, error), llm_output=piece["args"]
                ) from error
    if message.tool_calls:
        return
    if broken := message.invalid_tool_calls:
        raise OutputParserException(
            _why_broken(message, broken[0]["error"]), llm_output=broken[0]["args"]
        )
    if _is_cut(message):
        raise OutputParserException(_why_broken(message, None), llm_output=str(message.text))


def binding(
    schema: SchemaLike | None, method: str, strict: bool | None
) -> tuple[dict[str, Any], Runnable[Any, Any]]:
    """What a model is bound to for answers in a schema, and what reads them.

    Raises:
        ValueError: No schema of an object, no such method, or `strict` with "json_mode".
    """
    if schema is not None and not _is_object(schema):
        raise ValueError(
            f"{schema!r} is no schema of an object: make it a field of a pydantic class or a "
            "TypedDict, and give that."
        )
    if method == "json_mode":
        if strict is not None:
            raise ValueError("strict says nothing to method='json_mode': leave it out.")
        return {"structured_outputs": any_object(schema)}, _answer_parser(schema)
    if method not in ("json_schema", "function_calling"):
        raise ValueError(
            f"method must be json_schema, function_calling or json_mode, not {method!r}."
        )
    if schema is None:
        raise ValueError(f"method={method!r} needs a schema.")
    if method == "json_schema":
        return {"structured_outputs": schema_outputs(schema, strict)}, _answer_parser(schema)
    tools = tool_dicts([schema], strict)
    name = tools[0]["function"]["name"]
    bound = {"tools": tools, "tool_choice": name, "parallel_tool_calls": False}
    return bound, _call_parser(schema, name)


def _is_object(schema: Any) -> bool:
    """False for types of other values, some of which LangChain would take for functions."""
    if isinstance(schema, Mapping | BaseTool):
        return True
    kind = get_origin(schema) or schema
    if isinstance(kind, type):
        known = (vars(builtins).get(kind.__name__), UnionType)
        return kind not in known and not issubclass(kind, Enum)
    return callable(kind) and kind.__module__ != "typing"


def _answer_parser(schema: Any) -> AnswerParser:
    return AnswerParser(pydantic_class=schema if _is_pydantic(schema) else None)


def _call_parser(schema: Any, name: str) -> Runnable[Any, Any]:
    if _is_pydantic(schema):
        return _PydanticCall(tools=[schema], first_tool_only=True)
    return _KeyCall(key_name=name, first_tool_only=True)


def parsed(
    model: Runnable[LanguageModelInput, Any], parser: Runnable[Any, Any], include_raw: bool
) -> Runnable[LanguageModelInput, Any]:
    """A model with its parser; with `include_raw`, "raw", "parsed" and "parsing_error"."""
    if not include_raw:
        return model | parser
    assign = RunnablePassthrough.assign(
        parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
    )
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=model) | assign.with_fallbacks([failed], exception_key="parsing_error")


def _is_pydantic(schema: Any) -> bool:
    return isinstance(schema, type) and is_basemodel_subclass(schema)


def _instance(kind: type[Any], values: Any) -> Any:
    return kind.model_validate(values) if issubclass(kind, BaseModel) else kind.parse_obj(values)


def _begun(text: str) -> Any:
    """The object that a beginning of JSON text holds; None where there is none yet."""
    try:
        return parse_partial_json(text)
    except json.JSONDecodeError:
        return None


def _why_broken(message: BaseMessage | None, error: object) -> str:
    if message is not None and _is_cut(message):
        return "max_tokens cut the answer before its JSON was complete: raise max_tokens."
    return f"The answer is not JSON: {error}"


def _is_cut(message: BaseMessage) -> bool:
    return bool(message.response_metadata.get("finish_reason") == "length")
