"""Chat answers of the engine to LangChain's messages and chunks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    InvalidToolCall,
    ToolCall,
    ToolCallChunk,
)
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import BaseModel

from vllm_swift_integrations.langchain.outputs import (
    PROVIDER,
    logprobs,
    response_metadata,
    usage_metadata,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vllm_swift_engine.chat.deltas import ChatDelta, ChatMessage, ToolCallDelta
    from vllm_swift_engine.chat.request import ChatRequest
    from vllm_swift_engine.outputs import RequestOutput, StreamChunk

Model = TypeVar("Model", bound=BaseModel)

_EMPTY = AIMessageChunk(content="")
_MESSAGE = _EMPTY.__getstate__()
_CHUNK = ChatGenerationChunk(message=_EMPTY).__getstate__()


def chat_result(
    output: RequestOutput, request: ChatRequest, model: str, top: int | None = None
) -> ChatResult:
    """One chat generation for each sequence of a finished request.

    `top`, here and below: how many most likely tokens the request asked for; None is no logprobs.
    """
    answers = [request.parse(sequence) for sequence in output.outputs]
    usage = usage_metadata(output.usage, sum(answer.reasoning_tokens for answer in answers))
    return ChatResult(
        generations=[
            ChatGeneration(
                message=AIMessage(
                    content=answer.text,
                    additional_kwargs=_reasoning(answer.reasoning),
                    usage_metadata=usage,
                    response_metadata=response_metadata(
                        sequence, output.timings, model, bool(answer.tool_calls)
                    )
                    | logprobs(sequence, top),
                    **_calls(answer),
                )
            )
            for answer, sequence in zip(answers, output.outputs, strict=True)
        ]
    )


def _calls(answer: ChatMessage) -> dict[str, Any]:
    """The calls of an answer; one whose arguments were cut is an invalid one."""
    valid: list[ToolCall] = []
    invalid: list[InvalidToolCall] = [
        invalid_tool_call(name=call.name, args=call.text, id=call.id, error=call.error)
        for call in answer.invalid_tool_calls
    ]
    for call in answer.tool_calls:
        try:
            arguments = json.loads(call.arguments)
        except ValueError as error:
            invalid.append(
                invalid_tool_call(name=call.name, args=call.arguments, id=call.id, error=str(error))
            )
        else:
            valid.append(tool_call(name=call.name, args=arguments, id=call.id))
    return {"tool_calls": valid, "invalid_tool_calls": invalid}


def _reasoning(reasoning: str) -> dict[str, Any]:
    """Reasoning where LangChain looks for it; empty if there is none."""
    return {"reasoning_content": reasoning} if reasoning else {}


class ChatStream:
    """Turns the engine's pieces of one answer into LangChain's chunks.

    A chunk has text, reasoning or pieces of calls, never two of these, so that streams of v1
    blocks and of events can number them. The last one has usage, finish reason and timings.
    """

    def __init__(self, request: ChatRequest, model: str, top: int | None = None) -> None:
        self._parser = request.new_parser()
        self._model, self._top = model, top
        self._calls: set[int] = set()  # that are whole, or may yet be

    def chunks(self, piece: StreamChunk) -> Iterator[ChatGenerationChunk]:
        """The chunks of a piece; none while the parser cannot tell yet what its text belongs to."""
        last = piece.finish_reason is not None
        contents = self._contents(self._parser.push(piece.text, len(piece.token_ids)))
        if last:
            contents += self._contents(self._parser.flush())
        info = logprobs(piece, self._top) or None
        if (last and (not contents or "content" not in contents[-1])) or (info and not contents):
            contents.append({"content": ""})
        if last:
            contents[-1] |= self._ending(piece)
        for content in contents:
            yield _chunk(content, info)
            info = None

    def _contents(self, delta: ChatDelta) -> list[dict[str, Any]]:
        contents: list[dict[str, Any]] = []
        if delta.reasoning:
            contents.append({"additional_kwargs": _reasoning(delta.reasoning)})
        if delta.text:
            contents.append({"content": delta.text})
        if delta.tool_calls or delta.invalid_tool_calls:
            self._calls |= {call.index for call in delta.tool_calls}
            self._calls -= {bad.index for bad in delta.invalid_tool_calls if bad.index is not None}
            calls = [*map(_call_chunk, delta.tool_calls), *_invalid(delta)]
            contents.append({"tool_call_chunks": calls})
        return contents

    def _ending(self, piece: StreamChunk) -> dict[str, Any]:
        return {
            "chunk_position": "last",
            "usage_metadata": usage_metadata(piece.usage, self._parser.reasoning_tokens),
            "response_metadata": response_metadata(
                piece, piece.timings, self._model, bool(self._calls)
            ),
        }


def _chunk(content: dict[str, Any], info: dict[str, Any] | None) -> ChatGenerationChunk:
    """A chunk with these fields of a message.

    One of text or reasoning is restored, as from a pickle: the validators would find nothing, and
    beside kernels that have the caches they cost each token of a stream some 80 us. Pieces of calls
    need them: they make the calls.
    """
    fields: dict[str, Any] = {
        "content": "",
        "additional_kwargs": {},
        "response_metadata": {"model_provider": PROVIDER},
        "tool_calls": [],
        "invalid_tool_calls": [],
        "tool_call_chunks": [],
        **content,
    }
    if fields["tool_call_chunks"] or "chunk_position" in fields:
        return ChatGenerationChunk(message=AIMessageChunk(**fields), generation_info=info)
    message = _restored(AIMessageChunk, _MESSAGE, fields)
    said = {"text": fields["content"], "message": message, "generation_info": info}
    return _restored(ChatGenerationChunk, _CHUNK, said)


def _restored(kind: type[Model], state: dict[str, Any], fields: dict[str, Any]) -> Model:
    """A model with the state of an empty one, but for these fields, which are valid."""
    extra = state["__pydantic_extra__"]
    own = {
        "__dict__": {**state["__dict__"], **fields},
        "__pydantic_extra__": None if extra is None else {},
        "__pydantic_fields_set__": {*fields},
    }
    model = kind.__new__(kind)
    model.__setstate__({**state, **own})
    return model


def _call_chunk(piece: ToolCallDelta) -> ToolCallChunk:
    return tool_call_chunk(name=piece.name, args=piece.arguments, id=piece.id, index=piece.index)


def _invalid(delta: ChatDelta) -> Iterator[ToolCallChunk]:
    """Calls that are none: text which LangChain, joining chunks, finds to be no JSON."""
    for bad in delta.invalid_tool_calls:
        if bad.index is None:
            yield tool_call_chunk(name=bad.name, args=bad.text, id=bad.id, index=None)
