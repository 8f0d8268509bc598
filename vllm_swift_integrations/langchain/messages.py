"""LangChain messages to the dictionaries that chat templates read, in OpenAI's form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

_CALL_BLOCKS = ("tool_call", "tool_use", "invalid_tool_call")
"""Calls of v1 and of Anthropic's form; the message's own lists have them as well."""
_REASONING_BLOCKS = {"reasoning": "reasoning", "thinking": "thinking"}
"""Where the blocks of v1, and those of Anthropic's form, have their text."""


def to_chat(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Converts messages for `Engine.chat_request`.

    A tool message's artifact stays here, as LangChain means it to, and so does its status: what a
    model learns of an error is the content. Reasoning goes along under `reasoning_content`; most
    templates drop that of earlier turns.

    Args:
        messages: System, human, AI, tool and chat messages, whose content is text or blocks of
            text, of reasoning and of tool calls, as LangChain v0, v1 and Anthropic write them.

    Returns:
        A dictionary for each message: `role`, `content` (its text blocks joined as they are, like
        LangChain's `BaseMessage.text`), and where there is one `name`, `tool_calls`,
        `tool_call_id`, `reasoning_content`. A human message with results of tools, in Anthropic's
        form, is a tool message for each of them and a user message with the rest.

    Raises:
        EmptyPromptError: There are no messages.
        UnsupportedError: A message or content block of a kind that is not supported, by name.
    """
    if not messages:
        from vllm_swift_engine.errors import EmptyPromptError

        raise EmptyPromptError("No messages were given: pass at least one message.")
    tool_names: dict[str | None, str] = {}
    return [entry for message in messages for entry in _convert(message, tool_names)]


def _convert(message: BaseMessage, tool_names: dict[str | None, str]) -> Iterator[dict[str, Any]]:
    blocks = _blocks(message)
    match message:
        case SystemMessage():
            yield _entry("system", message, blocks)
        case HumanMessage():
            results = [block for block in blocks if block["type"] == "tool_result"]
            for result in results:
                yield _tool_result(result, message, tool_names)
            rest = [block for block in blocks if block["type"] != "tool_result"]
            if rest or not results:
                yield _entry("user", message, rest)
        case AIMessage():
            yield _assistant(message, blocks, tool_names)
        case ToolMessage():
            entry = _entry("tool", message, blocks) | {"tool_call_id": message.tool_call_id}
            yield _named(entry, tool_names.get(message.tool_call_id))
        case ChatMessage():
            yield _entry(message.role, message, blocks)
        case _:
            raise _unsupported(f"{type(message).__name__} (type {message.type!r}) is")


def _entry(role: str, message: BaseMessage, blocks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    entry = {"role": role, "content": "".join(_text(block, message) for block in blocks)}
    return _named(entry, message.name)


def _named(entry: dict[str, Any], name: str | None) -> dict[str, Any]:
    if name and "name" not in entry:
        entry["name"] = name
    return entry


def _assistant(
    message: AIMessage, blocks: Sequence[Mapping[str, Any]], tool_names: dict[str | None, str]
) -> dict[str, Any]:
    said = [block for block in blocks if block["type"] not in (*_CALL_BLOCKS, *_REASONING_BLOCKS)]
    entry = _entry("assistant", message, said)
    # What began like a call and is none: the model sees what it wrote.
    entry["content"] += "".join(call["args"] or "" for call in message.invalid_tool_calls)
    if reasoning := _reasoning(message, blocks):
        entry["reasoning_content"] = reasoning
    calls = [*_calls(message), *_calls_in_blocks(message, blocks)]
    if calls:
        entry["tool_calls"] = calls
        tool_names.update((call["id"], call["function"]["name"]) for call in calls)
    return entry


def _reasoning(message: AIMessage, blocks: Sequence[Mapping[str, Any]]) -> Any:
    thoughts = [
        str(block.get(_REASONING_BLOCKS[block["type"]], ""))
        for block in blocks
        if block["type"] in _REASONING_BLOCKS
    ]
    return "".join(thoughts) or message.additional_kwargs.get("reasoning_content")


def _calls(message: AIMessage) -> Iterator[dict[str, Any]]:
    for call in message.tool_calls:
        yield _call(call["id"], call["name"], call["args"])


def _calls_in_blocks(
    message: AIMessage, blocks: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Calls that stand in the content alone, as in messages that were made by hand."""
    known = {call["id"] for call in (*message.tool_calls, *message.invalid_tool_calls)}
    for block in blocks:
        if block["type"] in _CALL_BLOCKS and block.get("id") not in known:
            yield _call(block.get("id"), block.get("name"), block.get("args", block.get("input")))


def _call(call_id: str | None, name: str | None, arguments: Any) -> dict[str, Any]:
    function = {"name": name or "", "arguments": {} if arguments is None else arguments}
    return {"id": call_id, "type": "function", "function": function}


def _tool_result(
    block: Mapping[str, Any], message: BaseMessage, tool_names: Mapping[str | None, str]
) -> dict[str, Any]:
    parts = _as_blocks(block.get("content") or "", message)
    call_id = block.get("tool_use_id")
    text = "".join(_text(part, message) for part in parts)
    entry = {"role": "tool", "content": text, "tool_call_id": call_id}
    return _named(entry, tool_names.get(call_id))


def _blocks(message: BaseMessage) -> list[Mapping[str, Any]]:
    return _as_blocks(message.content, message)


def _as_blocks(content: Any, message: BaseMessage) -> list[Mapping[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    blocks = [{"type": "text", "text": part} if isinstance(part, str) else part for part in content]
    for block in blocks:
        if not isinstance(block.get("type"), str):
            raise _unsupported(f"Content block without a type in a message of {_whose(message)} is")
    return blocks


def _text(block: Mapping[str, Any], message: BaseMessage) -> str:
    """The text of a block that has nothing else; `text-plain` is v1's document in plain text."""
    kind, text = block["type"], block.get("text")
    if kind not in ("text", "text-plain") or not isinstance(text, str):
        raise _unsupported(f"Content block {kind!r} in a message of {_whose(message)} is")
    return text


def _whose(message: BaseMessage) -> str:
    return f"type {message.type!r}"


def _unsupported(subject: str) -> Exception:
    from vllm_swift_engine.errors import UnsupportedError

    return UnsupportedError(
        f"{subject} not supported: send system, human, AI, tool or chat messages that hold text, "
        "reasoning and tool calls."
    )
