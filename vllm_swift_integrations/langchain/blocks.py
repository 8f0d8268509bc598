"""Messages of this provider as LangChain's standard content blocks."""

from __future__ import annotations

from typing import cast

from langchain_core.messages import AIMessage, AIMessageChunk, ToolCallChunk
from langchain_core.messages import content as blocks
from langchain_core.messages.block_translators import register_translator

from vllm_swift_integrations.langchain.outputs import PROVIDER


def content_blocks(message: AIMessage) -> list[blocks.ContentBlock]:
    """Reasoning, text, then calls, as the model wrote them."""
    return [*_said(message), *_calls(message)]


def chunk_blocks(message: AIMessageChunk) -> list[blocks.ContentBlock]:
    """The same of a chunk: pieces of calls, and in the sum of a stream the calls."""
    if message.chunk_position == "last" or not message.tool_call_chunks:
        return content_blocks(message)
    return [*_said(message), *map(_call_chunk, message.tool_call_chunks)]


def register() -> None:
    """Lets `AIMessage.content_blocks` read messages of this provider."""
    register_translator(PROVIDER, content_blocks, chunk_blocks)


def _said(message: AIMessage) -> list[blocks.ContentBlock]:
    if not isinstance(message.content, str):
        parts = message.content
        texts = [
            {"type": "text", "text": part} if isinstance(part, str) else part for part in parts
        ]
        return cast("list[blocks.ContentBlock]", texts)
    said: list[blocks.ContentBlock] = []
    if reasoning := message.additional_kwargs.get("reasoning_content"):
        said.append({"type": "reasoning", "reasoning": reasoning})
    if message.content:
        said.append({"type": "text", "text": message.content})
    return said


def _calls(message: AIMessage) -> list[blocks.ContentBlock]:
    there = {part.get("id") for part in message.content if isinstance(part, dict)}
    return [
        {"type": "tool_call", "id": call["id"], "name": call["name"], "args": call["args"]}
        for call in message.tool_calls
        if call["id"] not in there
    ]


def _call_chunk(chunk: ToolCallChunk) -> blocks.ContentBlock:
    piece: blocks.ToolCallChunk = {
        "type": "tool_call_chunk",
        "id": chunk["id"],
        "name": chunk["name"],
        "args": chunk["args"],
    }
    if chunk["index"] is not None:
        # LangChain numbers the blocks of text; a call's own number must not meet one of those.
        piece["index"] = f"lc_tc_{chunk['index']}"
    return piece
