"""Tools, structured output and agents on the real model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelRequest, ModelResponse, wrap_model_call
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from pydantic import BaseModel, Field

from vllm_swift_engine.errors import RequestTimeoutError, UnsupportedSchemaError
from vllm_swift_integrations.langchain import ChatVLLMSwift, VLLMSwift

pytestmark = pytest.mark.model


class City(BaseModel):
    """A city."""

    name: str = Field(max_length=20)
    inhabitants: int = Field(ge=0, le=40_000_000)
    continent: Literal["Africa", "America", "Asia", "Europe", "Oceania"]


class CityDict(TypedDict):
    """A city."""

    name: Annotated[str, ..., "What it is called."]
    capital: bool


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"It rains in {city}."


@tool
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@pytest.fixture(scope="module")
def chat(smollm2: Path) -> Iterator[ChatVLLMSwift]:
    with ChatVLLMSwift(model=smollm2, temperature=0, max_tokens=100) as chat:
        yield chat


@pytest.fixture(scope="module")
def llm(smollm2: Path) -> Iterator[VLLMSwift]:
    with VLLMSwift(model=smollm2, temperature=0, max_tokens=20) as llm:
        yield llm


def added(pieces: list[AIMessageChunk]) -> AIMessageChunk:
    whole, *rest = pieces
    for piece in rest:
        whole += piece
    return whole


# ---------------------------------------------------------------------- tools


def test_a_forced_call_is_valid_and_streams_in_pieces(chat: ChatVLLMSwift) -> None:
    model = chat.bind_tools([get_weather, add], tool_choice="add", parallel_tool_calls=False)
    answer = model.invoke("What is 2 + 3?")
    pieces = list(model.stream("What is 2 + 3?"))
    (call,) = answer.tool_calls
    assert call["name"] == "add"
    assert call["args"].keys() == {"a", "b"}
    assert all(isinstance(value, int) for value in call["args"].values())
    assert answer.response_metadata["finish_reason"] == "tool_calls"
    assert answer.content == ""
    whole = added(pieces)
    assert sum(bool(piece.tool_call_chunks) for piece in pieces) > 1
    assert [one["args"] for one in whole.tool_calls] == [call["args"]]
    assert len({piece["index"] for part in pieces for piece in part.tool_call_chunks}) == 1


def test_a_stop_string_voids_the_call_that_it_cuts(chat: ChatVLLMSwift) -> None:
    model = chat.bind_tools([add], tool_choice="add", stop=["2"])
    answer = model.invoke("What is 2 + 3?")
    whole = added(list(model.stream("What is 2 + 3?")))
    assert answer.tool_calls == []
    assert [call["name"] for call in answer.invalid_tool_calls] == ["add"]
    assert answer.response_metadata["finish_reason"] == "stop"
    assert whole.response_metadata["finish_reason"] == "stop"


def test_sampled_calls_are_valid_too(chat: ChatVLLMSwift) -> None:
    model = chat.bind_tools([City, add], tool_choice="any", parallel_tool_calls=False)
    for answer in model.batch(["Hello!"] * 8, temperature=1.5):
        (call,) = answer.tool_calls
        if call["name"] == "City":
            City(**call["args"])
        else:
            assert call["name"] == "add"
            assert call["args"].keys() == {"a", "b"}


def test_no_call_where_none_is_allowed(chat: ChatVLLMSwift) -> None:
    answer = chat.bind_tools([add], tool_choice="none").invoke("What is 2 + 3?")
    assert answer.content
    assert not answer.tool_calls
    assert answer.content == chat.invoke("What is 2 + 3?").content, "the tool is not shown"


def test_tools_are_counted(chat: ChatVLLMSwift) -> None:
    asked = [HumanMessage("What is 2 + 3?")]
    bare = chat.get_num_tokens_from_messages(asked)
    counted = chat.get_num_tokens_from_messages(asked, [add, get_weather])
    answer = chat.bind_tools([add, get_weather]).invoke(asked, max_tokens=1)
    assert answer.usage_metadata is not None
    assert bare < counted < answer.usage_metadata["input_tokens"] < counted + 8


# ---------------------------------------------------------------------- structured output


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_an_instance_of_a_class(chat: ChatVLLMSwift, method: Any) -> None:
    model = chat.with_structured_output(City, method=method)
    city = model.invoke("Describe Paris.")
    assert isinstance(city, City)
    assert list(model.stream("Describe Paris."))[-1] == city


async def test_a_dictionary_grows(chat: ChatVLLMSwift) -> None:
    model = chat.with_structured_output(CityDict, repetition_penalty=1.2)
    whole = model.invoke("Describe Paris.")
    assert whole.keys() == {"name", "capital"}
    grown = [part async for part in model.astream("Describe Paris.")]
    assert len(grown) > 2
    assert grown[-1] == whole
    for part in grown:
        assert whole["name"].startswith(part.get("name", ""))


def test_json_mode_and_a_class(chat: ChatVLLMSwift) -> None:
    assert isinstance(
        chat.with_structured_output(City, method="json_mode").invoke("Describe Paris in JSON."),
        City,
    )


def test_a_schema_that_cannot_be_held_names_its_keyword(chat: ChatVLLMSwift) -> None:
    schema = {"title": "numbers", "type": "array", "uniqueItems": True}
    with pytest.raises(UnsupportedSchemaError, match="uniqueItems"):
        chat.with_structured_output(schema).invoke("Name numbers.")


def test_choices_and_patterns(chat: ChatVLLMSwift, llm: VLLMSwift) -> None:
    colours = {"choice": ["red", "green", "blue"]}
    assert chat.invoke("Name a colour.", structured_outputs=colours).content in colours["choice"]
    assert llm.invoke("My favourite colour is ", structured_outputs=colours) in colours["choice"]
    year = chat.bind(structured_outputs={"regex": "(19|20)[0-9]{2}"}).invoke("Name a year.")
    assert str(year.content)[:2] in ("19", "20")
    assert len(str(year.content)) == 4


async def test_a_batch_may_mix_grammars(chat: ChatVLLMSwift) -> None:
    city = chat.with_structured_output(City)
    texts = ["Name three primary colors."] * 3
    alone = chat.invoke(texts[0]).content
    answers, cities = await asyncio.gather(
        chat.abatch(texts), city.abatch(["Describe Paris.", "Describe Rome."])
    )
    assert [answer.content for answer in answers] == [alone] * 3
    assert all(isinstance(one, City) for one in cities)


# ---------------------------------------------------------------------- agents


@wrap_model_call
def one_tool_after_the_other(
    request: ModelRequest, handler: Callable[[ModelRequest], ModelResponse]
) -> ModelResponse:
    """The weather, a sum, then an answer: this model is too small to find that out by itself."""
    results = sum(isinstance(message, ToolMessage) for message in request.messages)
    choice = ("get_weather", "add", "none")[results]
    settings = {"parallel_tool_calls": False}
    return handler(request.override(tool_choice=choice, model_settings=settings))


def agent_of(chat: ChatVLLMSwift, **options: Any) -> Any:
    return create_agent(chat, [get_weather, add], middleware=[one_tool_after_the_other], **options)


ASKED = {"messages": [HumanMessage("What is the weather in Paris, and what is 2 + 3?")]}


def test_an_agent_with_two_tools_comes_to_its_answer(chat: ChatVLLMSwift) -> None:
    messages = agent_of(chat).invoke(ASKED)["messages"]
    kinds = [HumanMessage, AIMessage, ToolMessage, AIMessage, ToolMessage, AIMessage]
    assert [type(message) for message in messages] == kinds
    weather, total = messages[2], messages[4]
    assert (weather.name, total.name) == ("get_weather", "add")
    assert weather.content.startswith("It rains in ")
    assert int(total.content) == sum(messages[3].tool_calls[0]["args"].values())
    assert messages[5].content
    assert not messages[5].tool_calls


def test_an_agents_transcript_is_not_computed_again(chat: ChatVLLMSwift) -> None:
    answers = [m for m in agent_of(chat).invoke(ASKED)["messages"] if isinstance(m, AIMessage)]
    first, second, _ = (answer.usage_metadata for answer in answers)
    block = chat._open().info.kv_block_tokens
    reused = second["input_token_details"]["cache_read"]
    assert reused > first["input_tokens"] - block, "all of the first prompt"


def test_an_agent_streams(chat: ChatVLLMSwift) -> None:
    expected = agent_of(chat).invoke(ASKED)["messages"]
    pieces = [
        piece
        for piece, _ in agent_of(chat).stream(ASKED, stream_mode="messages")
        if isinstance(piece, AIMessageChunk)
    ]
    assert sum(bool(piece.tool_call_chunks) for piece in pieces) > 4
    text = "".join(piece.text for piece in pieces)
    assert text == expected[-1].content


@pytest.mark.parametrize("strategy", [ProviderStrategy, ToolStrategy])
def test_an_agent_that_answers_in_a_schema(chat: ChatVLLMSwift, strategy: Any) -> None:
    agent = create_agent(
        chat.model_copy(update={"engines": chat.engines}), [], response_format=strategy(City)
    )
    answer = agent.invoke({"messages": [HumanMessage("Describe Paris.")]})
    assert isinstance(answer["structured_response"], City)


def test_an_agent_chooses_the_engines_grammar_by_itself(chat: ChatVLLMSwift) -> None:
    agent = create_agent(chat, [], response_format=City)
    answer = agent.invoke({"messages": [HumanMessage("Describe Paris.")]})
    assert answer["structured_response"] == City.model_validate_json(answer["messages"][-1].text)


def test_a_schema_beside_tools(chat: ChatVLLMSwift) -> None:
    model = chat.bind_tools([add], response_format=City, parallel_tool_calls=False)
    for answer in model.batch(["Describe Paris.", "What is 2 + 3?"] * 3, temperature=1.5):
        if answer.tool_calls:
            assert answer.tool_calls[0]["args"].keys() == {"a", "b"}
        else:
            City.model_validate_json(answer.text)


def test_a_graph_of_ones_own(chat: ChatVLLMSwift) -> None:
    model = chat.bind_tools([get_weather], tool_choice="get_weather", parallel_tool_calls=False)

    def ask(state: MessagesState) -> dict[str, Any]:
        called = isinstance(state["messages"][-1], ToolMessage)
        return {"messages": [(chat if called else model).invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("ask", ask)
    graph.add_node("tools", ToolNode([get_weather]))
    graph.add_edge(START, "ask")
    graph.add_conditional_edges("ask", tools_condition)
    graph.add_edge("tools", "ask")
    messages = graph.compile().invoke({"messages": [HumanMessage("The weather in Paris?")]})
    assert [message.type for message in messages["messages"]] == ["human", "ai", "tool", "ai"]


# ---------------------------------------------------------------------- limits


async def test_a_request_that_takes_too_long(chat: ChatVLLMSwift) -> None:
    with pytest.raises(RequestTimeoutError):
        chat.invoke("Tell me a very long story.", timeout=0.05, max_tokens=4000)
    with pytest.raises(RequestTimeoutError):
        async for _ in chat.astream("Tell me a story.", timeout=0.05, max_tokens=4000):
            pass
    assert chat.invoke("Hi", timeout=60, priority=1).content
