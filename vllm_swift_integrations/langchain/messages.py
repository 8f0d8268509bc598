"""LangChain messages to the role and content dictionaries that chat templates read."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
)


def to_chat(messages: Sequence[BaseMessage]) -> list[dict[str, str]]:
    """Converts messages for `Engine.apply_chat_template`.

    Args:
        messages: System, human, AI and chat messages whose content is text or text blocks.

    Returns:
        One dictionary a message: `role`, `content` (its text blocks joined as they are, like
        LangChain's `BaseMessage.text`), and `name` where the message has one.

    Raises:
        EmptyPromptError: There are no messages.
        UnsupportedError: A message or content block of a kind that is not supported, by name.
    """
    if not messages:
        from vllm_swift_engine.errors import EmptyPromptError

        raise EmptyPromptError("No messages were given: pass at least one message.")
    return [_convert(message) for message in messages]


def _convert(message: BaseMessage) -> dict[str, str]:
    entry = {"role": _role(message), "content": _text(message)}
    if message.name:
        entry["name"] = message.name
    return entry


def _role(message: BaseMessage) -> str:
    match message:
        case SystemMessage():
            return "system"
        case HumanMessage():
            return "user"
        case AIMessage():
            if message.tool_calls or message.invalid_tool_calls:
                raise _unsupported("AI messages with tool calls are")
            return "assistant"
        case ChatMessage():
            return message.role
        case _:
            raise _unsupported(f"{type(message).__name__} (type {message.type!r}) is")


def _text(message: BaseMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    parts = []
    for block in message.content:
        if isinstance(block, str):
            parts.append(block)
        elif block.get("type") == "text" and isinstance(block.get("text"), str):
            parts.append(block["text"])
        else:
            kind = block.get("type", "without a type")
            raise _unsupported(f"Content block {kind!r} in a message of type {message.type!r} is")
    return "".join(parts)


def _unsupported(subject: str) -> Exception:
    from vllm_swift_engine.errors import UnsupportedError

    return UnsupportedError(
        f"{subject} not supported: send system, human, AI or chat messages that hold only text."
    )
