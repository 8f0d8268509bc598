from __future__ import annotations

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from vllm_swift_engine.errors import EmptyPromptError, UnsupportedError
from vllm_swift_integrations.langchain.messages import to_chat


def test_roles_are_those_of_chat_templates() -> None:
    assert to_chat(
        [
            SystemMessage("Be brief."),
            HumanMessage("Hi"),
            AIMessage("Hello"),
            ChatMessage("Go on", role="moderator"),
        ]
    ) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "moderator", "content": "Go on"},
    ]


def test_text_blocks_join_as_the_message_text_does() -> None:
    message = HumanMessage(["One, ", {"type": "text", "text": "two, "}, "three"])
    assert to_chat([message]) == [{"role": "user", "content": message.text}]
    assert message.text == "One, two, three"


def test_a_name_reaches_the_template() -> None:
    assert to_chat([HumanMessage("Hi", name="ada")]) == [
        {"role": "user", "content": "Hi", "name": "ada"}
    ]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image_url", "image_url": {"url": "data:,"}},
        {"type": "image", "url": "https://example.org/a.png"},
        {"type": "audio", "base64": ""},
        {"type": "tool_use", "name": "f"},
        {"type": "reasoning", "reasoning": "hm"},
    ],
)
def test_other_blocks_are_refused_by_name(block: dict[str, object]) -> None:
    with pytest.raises(UnsupportedError, match=repr(block["type"])):
        to_chat([HumanMessage(["Look: ", block])])


@pytest.mark.parametrize("block", [{"text": "no type"}, {"type": "text"}])
def test_malformed_blocks_are_refused(block: dict[str, object]) -> None:
    with pytest.raises(UnsupportedError, match="Content block"):
        to_chat([HumanMessage([block])])


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (ToolMessage("4", tool_call_id="1"), "ToolMessage"),
        (FunctionMessage("4", name="add"), "FunctionMessage"),
        (RemoveMessage(id="1"), "RemoveMessage"),
        (AIMessage("", tool_calls=[{"name": "add", "args": {}, "id": "1"}]), "tool calls"),
    ],
)
def test_other_messages_are_refused_by_name(message: BaseMessage, name: str) -> None:
    with pytest.raises(UnsupportedError, match=name):
        to_chat([HumanMessage("2 + 2?"), message])


def test_no_messages() -> None:
    with pytest.raises(EmptyPromptError, match="at least one message"):
        to_chat([])
