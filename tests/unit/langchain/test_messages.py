from __future__ import annotations

from typing import Any

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


CALL = {"name": "add", "args": {"a": 2}, "id": "call_1"}
WIRE = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": {"a": 2}}}


def test_calls_and_their_results() -> None:
    messages = [
        HumanMessage("2 + 2?"),
        AIMessage("Let me see.", tool_calls=[CALL]),
        ToolMessage("4", tool_call_id="call_1", artifact=object(), status="success"),
    ]
    assert to_chat(messages)[1:] == [
        {"role": "assistant", "content": "Let me see.", "tool_calls": [WIRE]},
        {"role": "tool", "content": "4", "tool_call_id": "call_1", "name": "add"},
    ]


def test_a_failed_call_says_so_in_its_content() -> None:
    failed = ToolMessage(
        [{"type": "text", "text": "Error: "}, "no b."],
        tool_call_id="1",
        name="add",
        status="error",
    )
    (entry,) = to_chat([failed])
    assert entry == {"role": "tool", "content": "Error: no b.", "tool_call_id": "1", "name": "add"}


def test_a_call_that_was_none_is_shown_as_it_was_written() -> None:
    broken = {"name": "add", "args": '{"a": ', "id": "call_1", "error": "cut"}
    assert to_chat([AIMessage("So: ", invalid_tool_calls=[broken])]) == [
        {"role": "assistant", "content": 'So: {"a": '}
    ]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "tool_use", "id": "call_1", "name": "add", "input": {"a": 2}},
        {"type": "tool_call", "id": "call_1", "name": "add", "args": {"a": 2}},
    ],
)
def test_calls_that_stand_in_the_content_too_are_not_doubled(block: dict[str, Any]) -> None:
    content = [{"type": "text", "text": "So."}, block]
    expected = [{"role": "assistant", "content": "So.", "tool_calls": [WIRE]}]
    assert to_chat([AIMessage(content, tool_calls=[CALL])]) == expected
    assert to_chat([AIMessage(content, tool_calls=[])]) == expected


def test_results_in_a_human_message_are_tool_messages() -> None:
    result = {
        "type": "tool_result",
        "tool_use_id": "call_1",
        "content": [{"type": "text", "text": "4"}],
    }
    messages = [AIMessage("", tool_calls=[CALL]), HumanMessage([result, "Is that so?"])]
    assert to_chat(messages)[1:] == [
        {"role": "tool", "content": "4", "tool_call_id": "call_1", "name": "add"},
        {"role": "user", "content": "Is that so?"},
    ]
    assert [entry["role"] for entry in to_chat([HumanMessage([result])])] == ["tool"]


@pytest.mark.parametrize(
    "message",
    [
        AIMessage("4", additional_kwargs={"reasoning_content": "2 and 2"}),
        AIMessage([{"type": "reasoning", "reasoning": "2 and 2"}, {"type": "text", "text": "4"}]),
        AIMessage([{"type": "thinking", "thinking": "2 and 2", "signature": "s"}, "4"]),
        AIMessage(
            [{"type": "reasoning", "reasoning": "2 and 2"}, {"type": "text", "text": "4"}],
            additional_kwargs={"reasoning_content": "2 and 2"},
        ),
    ],
)
def test_reasoning_has_a_place_of_its_own(message: AIMessage) -> None:
    assert to_chat([message]) == [
        {"role": "assistant", "content": "4", "reasoning_content": "2 and 2"}
    ]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image_url", "image_url": {"url": "data:,"}},
        {"type": "image", "url": "https://example.org/a.png"},
        {"type": "audio", "base64": ""},
        {"type": "video", "url": "https://example.org/a.mp4"},
        {"type": "file", "base64": "", "mime_type": "application/pdf"},
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
        {"type": "tool_use", "name": "f"},
        {"type": "reasoning", "reasoning": "hm"},
        {"type": "server_tool_call", "name": "web_search"},
        {"type": "non_standard", "value": {}},
    ],
)
def test_other_blocks_are_refused_by_name(block: dict[str, object]) -> None:
    with pytest.raises(UnsupportedError, match=repr(block["type"])):
        to_chat([HumanMessage(["Look: ", block])])


def test_a_document_in_plain_text_is_text() -> None:
    block = {"type": "text-plain", "text": "A letter.", "mime_type": "text/plain"}
    assert to_chat([HumanMessage(["Read: ", block])])[0]["content"] == "Read: A letter."


@pytest.mark.parametrize("block", [{"text": "no type"}, {"type": "text"}])
def test_malformed_blocks_are_refused(block: dict[str, object]) -> None:
    with pytest.raises(UnsupportedError, match="Content block"):
        to_chat([HumanMessage([block])])


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (FunctionMessage("4", name="add"), "FunctionMessage"),
        (RemoveMessage(id="1"), "RemoveMessage"),
    ],
)
def test_other_messages_are_refused_by_name(message: BaseMessage, name: str) -> None:
    with pytest.raises(UnsupportedError, match=name):
        to_chat([HumanMessage("2 + 2?"), message])


def test_no_messages() -> None:
    with pytest.raises(EmptyPromptError, match="at least one message"):
        to_chat([])
