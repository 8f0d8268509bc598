"""Tools bound to the chat model, and the calls that come back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NotRequired, TypedDict

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from vllm_swift_engine.errors import InvalidArgumentError, UnsupportedError
from vllm_swift_integrations.langchain import ChatVLLMSwift

if TYPE_CHECKING:
    from tests.unit.langchain.conftest import FakeEngine

NUMBER = {"type": "integer"}


@pytest.fixture
def chat(engines: list[FakeEngine]) -> ChatVLLMSwift:
    return ChatVLLMSwift(model="a/model", temperature=0)


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


class Add(BaseModel):
    """Adds two numbers."""

    a: int
    b: int = Field(description="The second one.")


class Tree(BaseModel):
    """A tree."""

    children: list[Tree]


class AddDict(TypedDict):
    """Adds two numbers."""

    a: int
    b: Annotated[int, ..., "The second one."]


ADD_SCHEMA = {"title": "add", "type": "object", "properties": {"a": NUMBER, "b": NUMBER}}
OPENAI = {"type": "function", "function": {"name": "add", "parameters": ADD_SCHEMA}}
ANTHROPIC = {"name": "add", "input_schema": ADD_SCHEMA}


@pytest.mark.parametrize("given", [add, tool(add), Add, AddDict, ADD_SCHEMA, OPENAI, ANTHROPIC])
def test_whatever_is_a_tool(chat: ChatVLLMSwift, engines: list[FakeEngine], given: Any) -> None:
    chat.bind_tools([given]).invoke("2 + 2?")
    (options,) = engines[0].chat_options
    (bound,) = options["tools"]
    assert bound["type"] == "function"
    assert bound["function"]["name"].lower().startswith("add")
    assert bound["function"]["parameters"]["properties"].keys() == {"a", "b"}
    assert options["tool_choice"] == "auto"
    assert options["parallel_tool_calls"] is True


@pytest.mark.parametrize("given", [{"type": "web_search"}, {"type": "mcp", "name": "files"}])
def test_tools_that_a_service_runs_are_refused(chat: ChatVLLMSwift, given: dict[str, str]) -> None:
    with pytest.raises(UnsupportedError, match=given.get("name", given["type"])):
        chat.bind_tools([given])


def test_what_is_no_tool(chat: ChatVLLMSwift) -> None:
    with pytest.raises(ValueError, match="Unsupported function"):
        chat.bind_tools([{"description": "no name"}])


@pytest.mark.parametrize("strict", [True, False])
def test_strict_goes_to_each_tool(
    chat: ChatVLLMSwift, engines: list[FakeEngine], strict: bool
) -> None:
    chat.bind_tools([add], strict=strict).invoke("2 + 2?")
    assert engines[0].chat_options[0]["tools"][0]["function"]["strict"] is strict


NAMED = {"type": "function", "function": {"name": "add"}}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, "auto"),
        (False, "auto"),
        ("auto", "auto"),
        ("none", "none"),
        (True, "required"),
        ("any", "required"),
        ("required", "required"),
        ("add", NAMED),
        (NAMED, NAMED),
        ({"type": "tool", "name": "add"}, NAMED),
        ({"type": "any"}, "required"),
    ],
)
def test_choices(
    chat: ChatVLLMSwift, engines: list[FakeEngine], choice: Any, expected: Any
) -> None:
    chat.bind_tools([add], tool_choice=choice).invoke("2 + 2?")
    chat.invoke("2 + 2?", tools=[add], tool_choice=choice)
    assert [options["tool_choice"] for options in engines[0].chat_options] == [expected] * 2


@pytest.mark.parametrize(
    "choice", ["subtract", {"type": "function", "function": {"name": "subtract"}}]
)
def test_a_tool_that_is_not_there(chat: ChatVLLMSwift, choice: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"'subtract'.* tools: 'add';"):
        chat.bind_tools([add], tool_choice=choice)


def test_a_choice_needs_tools(chat: ChatVLLMSwift, engines: list[FakeEngine]) -> None:
    with pytest.raises(InvalidArgumentError, match="tool"):
        chat.bind_tools([], tool_choice="any")
    with pytest.raises(InvalidArgumentError, match="tool_choice"):
        chat.bind_tools([add], tool_choice=3)  # type: ignore[arg-type]
    assert engines == []


def test_a_tool_may_be_called_like_a_mode(chat: ChatVLLMSwift, engines: list[FakeEngine]) -> None:
    chat.bind_tools([{"name": "any"}, {"name": "add"}], tool_choice="any").invoke("Hi")
    assert engines[0].chat_options[0]["tool_choice"]["function"] == {"name": "any"}


@pytest.mark.parametrize("wrong", [add, "add", OPENAI, 3, [{"type": "function", "function": {}}]])
def test_what_is_no_list_of_tools(chat: ChatVLLMSwift, wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"must be a list of tools|has no name"):
        chat.bind_tools(wrong)


class Sparse(TypedDict):
    """Has what it has."""

    a: NotRequired[int]


def test_a_field_without_a_schema_is_refused_with_the_way_out(chat: ChatVLLMSwift) -> None:
    with pytest.raises(ValueError, match=r"Sparse has no schema: NotRequired.*Annotated"):
        chat.bind_tools([Sparse])
    with pytest.raises(ValueError, match=r"Sparse has no schema: NotRequired.*Annotated"):
        chat.with_structured_output(Sparse)


class Lenient(TypedDict):
    """Has what it has."""

    a: Annotated[int, None, "A number."]


def test_the_way_out(chat: ChatVLLMSwift, engines: list[FakeEngine]) -> None:
    chat.bind_tools([Lenient]).invoke("Hi")
    parameters = engines[0].chat_options[0]["tools"][0]["function"]["parameters"]
    assert parameters["properties"]["a"] == {"type": "integer", "description": "A number."}
    assert "required" not in parameters


def plant(root: Tree) -> str:
    """Plants a tree."""
    return str(root)


@pytest.mark.parametrize("given", [Tree, plant, tool(plant)])
def test_arguments_may_refer_to_themselves(
    chat: ChatVLLMSwift, engines: list[FakeEngine], given: Any
) -> None:
    chat.bind_tools([given]).invoke("A tree!")
    parameters = engines[0].chat_options[0]["tools"][0]["function"]["parameters"]
    root = parameters if given is Tree else parameters["$defs"]["Tree"]
    assert root["properties"]["children"]["items"] == {"$ref": "#/$defs/Tree"}
    assert parameters["$defs"].keys() == {"Tree"}
    assert parameters["type"] == "object"


def test_one_call_at_a_time(chat: ChatVLLMSwift, engines: list[FakeEngine]) -> None:
    chat.bind_tools([add], parallel_tool_calls=False).invoke("2 + 2?")
    assert engines[0].chat_options[0]["parallel_tool_calls"] is False


CALL = ("<call add>", '{"a": 2', ', "b": 2}', "</call>")
REPLY = ("<think>", "hm", "ok", "</think>", "Sure.", *CALL)
TWICE = (*REPLY, "<call add>", '{"a": 4, "b": 4}', "</call>")


def test_calls(chat: ChatVLLMSwift, engines: list[FakeEngine]) -> None:
    reply(chat, engines, *TWICE)
    answer = chat.invoke("2 + 2?")
    assert answer.content == "Sure."
    assert answer.tool_calls == [
        {"name": "add", "args": {"a": 2, "b": 2}, "id": "call_0", "type": "tool_call"},
        {"name": "add", "args": {"a": 4, "b": 4}, "id": "call_1", "type": "tool_call"},
    ]
    assert answer.invalid_tool_calls == []
    assert answer.additional_kwargs == {"reasoning_content": "hmok"}
    assert answer.response_metadata["finish_reason"] == "tool_calls"
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_token_details"] == {"reasoning": 4}


def test_streamed_calls_add_up(chat: ChatVLLMSwift, engines: list[FakeEngine]) -> None:
    reply(chat, engines, *TWICE)
    pieces = list(chat.stream("2 + 2?"))
    ids = [call["id"] for piece in pieces for call in piece.tool_call_chunks]
    indexes = [call["index"] for piece in pieces for call in piece.tool_call_chunks]
    assert ids == ["call_0", None, None, "call_1", None]
    assert indexes == [0, 0, 0, 1, 1]
    whole, answer = added(pieces), chat.invoke("2 + 2?")
    for field in ("content", "tool_calls", "additional_kwargs", "usage_metadata", "content_blocks"):
        assert getattr(whole, field) == getattr(answer, field)
    assert whole.response_metadata == answer.response_metadata


async def test_streamed_calls_add_up_async(chat: ChatVLLMSwift, engines: list[FakeEngine]) -> None:
    reply(chat, engines, *REPLY)
    whole = added([piece async for piece in chat.astream("2 + 2?")])
    assert whole.tool_calls == (await chat.ainvoke("2 + 2?")).tool_calls


def test_a_piece_has_one_kind_of_content(chat: ChatVLLMSwift, engines: list[FakeEngine]) -> None:
    reply(chat, engines, "".join(REPLY))
    for piece in chat.stream("2 + 2?"):
        kinds = (piece.content, piece.additional_kwargs, piece.tool_call_chunks)
        assert sum(map(bool, kinds)) <= 1


def test_a_call_that_was_cut(chat: ChatVLLMSwift, engines: list[FakeEngine]) -> None:
    reply(chat, engines, *CALL)
    answer = chat.invoke("2 + 2?", max_tokens=2)
    assert answer.tool_calls == []
    (broken,) = answer.invalid_tool_calls
    assert (broken["name"], broken["args"], broken["id"]) == ("add", '{"a": 2', "call_0")
    assert broken["error"]
    assert answer.response_metadata["finish_reason"] == "length"


def test_text_that_began_like_a_call(chat: ChatVLLMSwift, engines: list[FakeEngine]) -> None:
    reply(chat, engines, "<bad>", "add 2 and 2")
    answer = chat.invoke("2 + 2?")
    whole = added(list(chat.stream("2 + 2?")))
    assert [call["args"] for call in answer.invalid_tool_calls] == ["add 2 and 2"]
    assert [call["args"] for call in whole.invalid_tool_calls] == ["add 2 and 2"]
    assert whole.tool_calls == []


def test_a_call_without_arguments(chat: ChatVLLMSwift, engines: list[FakeEngine]) -> None:
    reply(chat, engines, "<call now>", "{}", "</call>")
    assert chat.invoke("What time is it?").tool_calls[0]["args"] == {}


V1 = [
    {"type": "reasoning", "reasoning": "hmok"},
    {"type": "text", "text": "Sure."},
    {"type": "tool_call", "id": "call_0", "name": "add", "args": {"a": 2, "b": 2}},
]


def test_content_blocks(chat: ChatVLLMSwift, engines: list[FakeEngine]) -> None:
    reply(chat, engines, *REPLY)
    answer = chat.invoke("2 + 2?")
    assert answer.content_blocks == V1
    versioned = chat.model_copy(update={"output_version": "v1"}).invoke("2 + 2?")
    assert versioned.content == V1
    again = AIMessage(answer.content_blocks, response_metadata={"model_provider": "vllm-swift"})
    assert again.content_blocks == V1


def test_streamed_content_blocks(chat: ChatVLLMSwift, engines: list[FakeEngine]) -> None:
    versioned = ChatVLLMSwift(model="a/model", output_version="v1")
    reply(versioned, engines, *TWICE)
    whole = added(list(versioned.stream("2 + 2?")))
    shown = [{k: v for k, v in block.items() if k != "index"} for block in whole.content_blocks]
    assert shown == [
        *V1,
        {"type": "tool_call", "id": "call_1", "name": "add", "args": {"a": 4, "b": 4}},
    ]
    assert len(whole.tool_calls) == 2


def test_events_in_blocks(chat: ChatVLLMSwift, engines: list[FakeEngine]) -> None:
    reply(chat, engines, *REPLY)
    stream = chat.stream_events("2 + 2?", version="v3")
    assert list(stream)
    assert [block["type"] for block in stream.output.content_blocks] == [
        "reasoning",
        "text",
        "tool_call",
    ]


def test_a_conversation_goes_back_as_it_came(
    chat: ChatVLLMSwift, engines: list[FakeEngine]
) -> None:
    versioned = ChatVLLMSwift(model="a/model", output_version="v1", engines=chat.engines)
    reply(chat, engines, *REPLY)
    asked = HumanMessage("2 + 2?")
    result = ToolMessage("4", tool_call_id="call_0")
    for answer in (
        chat.invoke([asked]),
        added(list(chat.stream([asked]))),
        versioned.invoke([asked]),
        added(list(versioned.stream([asked]))),
    ):
        chat.invoke([asked, answer, result])
        assert engines[0].chats[-1][1] == {
            "role": "assistant",
            "content": "Sure.",
            "reasoning_content": "hmok",
            "tool_calls": [
                {
                    "id": "call_0",
                    "type": "function",
                    "function": {"name": "add", "arguments": {"a": 2, "b": 2}},
                }
            ],
        }
        assert engines[0].chats[-1][2]["name"] == "add"


def reply(chat: ChatVLLMSwift, engines: list[FakeEngine], *pieces: str) -> None:
    chat._open()
    type(engines[-1]).reply = pieces


def added(pieces: list[AIMessageChunk]) -> AIMessageChunk:
    whole, *rest = pieces
    for piece in rest:
        whole += piece
    return whole
