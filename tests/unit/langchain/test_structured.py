"""`with_structured_output` and formats of an answer."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import OutputParserException
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_json_schema
from pydantic import BaseModel, Field, ValidationError

from vllm_swift_engine.errors import InvalidArgumentError, UnsupportedError
from vllm_swift_engine.grammar.params import StructuredOutputsParams
from vllm_swift_integrations.langchain import ChatVLLMSwift

if TYPE_CHECKING:
    from tests.unit.langchain.conftest import FakeEngine


class Joke(BaseModel):
    """A joke."""

    setup: str
    laughs: int = Field(lt=10)


class JokeDict(TypedDict):
    """A joke."""

    setup: Annotated[str, ..., "How it begins."]
    laughs: int


class Node(BaseModel):
    """A tree."""

    children: list[Node]


class Color(Enum):
    RED = "red"


JOKE = {"setup": "Why?", "laughs": 3}
PIECES = ('{"setup": ', '"Wh', 'y?", ', '"laughs": 3', "}")
CALL = ("<call Joke>", *PIECES, "</call>")
FUNCTION = {"name": "Joke", "parameters": Joke.model_json_schema()}


@pytest.fixture
def chat(engines: list[FakeEngine]) -> ChatVLLMSwift:
    chat = ChatVLLMSwift(model="a/model", temperature=0)
    chat._open()
    return chat


@pytest.mark.parametrize("schema", [Joke, JokeDict, Joke.model_json_schema(), FUNCTION])
def test_the_answer_is_the_object(
    chat: ChatVLLMSwift, engines: list[FakeEngine], schema: Any
) -> None:
    type(engines[0]).reply = PIECES
    parsed = chat.with_structured_output(schema).invoke("A joke!")
    assert parsed == (Joke(**JOKE) if schema is Joke else JOKE)
    outputs = engines[0].chat_options[0]["structured_outputs"]
    assert outputs.json["properties"].keys() == {"setup", "laughs"}
    assert outputs.disable_additional_properties
    assert engines[0].requests[0][1].structured_outputs is not None


@pytest.mark.parametrize("schema", [Joke, JokeDict])
async def test_the_answer_is_the_arguments_of_a_call(
    chat: ChatVLLMSwift, engines: list[FakeEngine], schema: Any
) -> None:
    type(engines[0]).reply = (f"<call {schema.__name__}>", *CALL[1:])
    model = chat.with_structured_output(schema, method="function_calling")
    expected = Joke(**JOKE) if schema is Joke else JOKE
    assert model.invoke("A joke!") == expected
    assert await model.ainvoke("A joke!") == expected
    assert list(model.stream("A joke!"))[-1] == expected
    options = engines[0].chat_options[0]
    assert options["tool_choice"]["function"]["name"] == schema.__name__
    assert options["parallel_tool_calls"] is False
    assert options["structured_outputs"] is None


@pytest.mark.parametrize("schema", [Joke, JokeDict, None])
def test_any_object(chat: ChatVLLMSwift, engines: list[FakeEngine], schema: Any) -> None:
    type(engines[0]).reply = PIECES
    model = chat.with_structured_output(schema, method="json_mode")
    assert model.invoke("A joke!") == (Joke(**JOKE) if schema is Joke else JOKE)
    outputs = engines[0].chat_options[0]["structured_outputs"]
    assert outputs.json_object is (schema is None)
    assert schema is None or not outputs.strict


def test_dictionaries_grow_in_a_stream(chat: ChatVLLMSwift, engines: list[FakeEngine]) -> None:
    type(engines[0]).reply = PIECES
    pieces = list(chat.with_structured_output(JokeDict).stream("A joke!"))
    assert pieces == [{}, {"setup": "Wh"}, {"setup": "Why?"}, JOKE]


async def test_instances_come_whole(chat: ChatVLLMSwift, engines: list[FakeEngine]) -> None:
    type(engines[0]).reply = PIECES
    model = chat.with_structured_output(Joke)
    assert list(model.stream("A joke!")) == [Joke(**JOKE)]
    assert [piece async for piece in model.astream("A joke!")] == [Joke(**JOKE)]


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
@pytest.mark.parametrize("schema", [Joke, JokeDict])
def test_an_answer_that_was_cut_is_an_error(
    chat: ChatVLLMSwift, engines: list[FakeEngine], schema: Any, method: Any
) -> None:
    calls = method == "function_calling"
    type(engines[0]).reply = (f"<call {schema.__name__}>", *CALL[1:]) if calls else PIECES
    model = chat.with_structured_output(schema, method=method)
    with pytest.raises(OutputParserException, match="max_tokens"):
        model.invoke("A joke!", max_tokens=3)
    with_raw = chat.with_structured_output(schema, method=method, include_raw=True, max_tokens=3)
    answer = with_raw.invoke("A joke!")
    assert answer["parsed"] is None
    assert isinstance(answer["parsing_error"], OutputParserException)
    with pytest.raises(OutputParserException, match="max_tokens"):
        list(model.stream("A joke!", max_tokens=3))


async def test_a_call_that_was_cut_before_its_name_is_an_error(
    chat: ChatVLLMSwift, engines: list[FakeEngine]
) -> None:
    type(engines[0]).reply = ('{"na', 'me": "Joke"')
    model = chat.with_structured_output(Joke, method="function_calling").bind(max_tokens=1)
    with pytest.raises(OutputParserException, match="max_tokens"):
        model.invoke("A joke!")
    with pytest.raises(OutputParserException, match="max_tokens"):
        list(model.stream("A joke!"))
    with pytest.raises(OutputParserException, match="max_tokens"):
        [piece async for piece in model.astream("A joke!")]


async def test_called_instances_come_whole(chat: ChatVLLMSwift, engines: list[FakeEngine]) -> None:
    type(engines[0]).reply = ("<call Joke>", '{"laughs": 3, "setup": "Wh', 'y?"}', "</call>")
    model = chat.with_structured_output(Joke, method="function_calling")
    assert list(model.stream("A joke!")) == [Joke(**JOKE)]
    assert [piece async for piece in model.astream("A joke!")] == [Joke(**JOKE)]


def test_what_the_class_refuses_is_an_error(chat: ChatVLLMSwift, engines: list[FakeEngine]) -> None:
    type(engines[0]).reply = ('{"setup": "Why?", "laughs": 30}',)
    model = chat.with_structured_output(Joke)
    with pytest.raises(OutputParserException, match="laughs") as refused:
        model.invoke("A joke!")
    assert isinstance(refused.value.__cause__, ValidationError)
    with pytest.raises(OutputParserException, match="laughs"):
        list(model.stream("A joke!"))


def test_the_raw_answer(chat: ChatVLLMSwift, engines: list[FakeEngine]) -> None:
    type(engines[0]).reply = PIECES
    answer = chat.with_structured_output(Joke, include_raw=True).invoke("A joke!")
    assert answer["raw"].content == "".join(PIECES)
    assert answer["parsed"] == Joke(**JOKE)
    assert answer["parsing_error"] is None


@pytest.mark.parametrize("strict", [None, True, False])
def test_strict(chat: ChatVLLMSwift, engines: list[FakeEngine], strict: bool | None) -> None:
    type(engines[0]).reply = PIECES
    chat.with_structured_output(Joke, strict=strict).invoke("A joke!")
    outputs = engines[0].chat_options[0]["structured_outputs"]
    assert outputs.strict is (strict is not False)
    assert outputs.disable_additional_properties is (strict is not False)


def test_references_stay_references(chat: ChatVLLMSwift, engines: list[FakeEngine]) -> None:
    type(engines[0]).reply = ('{"children": [{"children": []}]}',)
    answer = chat.with_structured_output(Node).invoke("A tree!")
    assert answer == Node(children=[Node(children=[])])
    assert engines[0].chat_options[0]["structured_outputs"].json["$defs"]


def test_what_is_no_method_or_schema(chat: ChatVLLMSwift) -> None:
    with pytest.raises(ValueError, match="needs a schema"):
        chat.with_structured_output(None)
    with pytest.raises(ValueError, match="strict"):
        chat.with_structured_output(Joke, method="json_mode", strict=True)
    with pytest.raises(ValueError, match="method"):
        chat.with_structured_output(Joke, method="xml")  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
@pytest.mark.parametrize("schema", [Color, int, list[Joke], Joke | None, Literal["a"], 3])
def test_what_is_no_object(chat: ChatVLLMSwift, schema: Any, method: Any) -> None:
    with pytest.raises(ValueError, match="no schema of an object"):
        chat.with_structured_output(schema, method=method)


def test_a_tool_has_the_schema_of_its_arguments(
    chat: ChatVLLMSwift, engines: list[FakeEngine]
) -> None:
    type(engines[0]).reply = ('{"setup": "Why?"}',)

    @tool
    def tell(setup: str) -> None:
        """Tells a joke."""

    assert chat.with_structured_output(tell).invoke("A joke!") == {"setup": "Why?"}  # type: ignore[arg-type]


def test_a_class_that_has_no_module(chat: ChatVLLMSwift) -> None:
    names: dict[str, Any] = {"BaseModel": BaseModel}
    exec("class Joke(BaseModel):\n    setup: str", names)
    chat.with_structured_output(names["Joke"])


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_traces_have_the_format(
    chat: ChatVLLMSwift, engines: list[FakeEngine], method: Any
) -> None:
    class Options(BaseCallbackHandler):
        seen: Any = None

        def on_chat_model_start(self, *_: Any, options: Any = None, **__: Any) -> None:
            self.seen = options["ls_structured_output_format"]

    type(engines[0]).reply = CALL if method == "function_calling" else PIECES
    handler = Options()
    model = chat.with_structured_output(Joke, method=method)
    model.invoke("A joke!", {"callbacks": [handler]})
    assert handler.seen["schema"] == convert_to_json_schema(Joke)
    assert handler.seen["kwargs"]["method"] == method


def test_reasoning_is_no_part_of_the_object(chat: ChatVLLMSwift, engines: list[FakeEngine]) -> None:
    type(engines[0]).reply = ("<think>", "hm", "</think>", *PIECES)
    for version in (None, "v1"):
        model = chat.model_copy(update={"output_version": version, "engines": chat.engines})
        assert model.with_structured_output(JokeDict).invoke("A joke!") == JOKE
        assert list(model.with_structured_output(JokeDict).stream("A joke!"))[-1] == JOKE


NAMED_SCHEMA = {"name": "Joke", "schema": Joke.model_json_schema()}


@pytest.mark.parametrize(
    ("response_format", "outputs"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"json_object": True}),
        (
            {"type": "json_schema", "json_schema": NAMED_SCHEMA},
            {"json": Joke.model_json_schema(), "disable_additional_properties": True},
        ),
        (
            {"type": "json_schema", "json_schema": NAMED_SCHEMA | {"strict": False}},
            {"json": Joke.model_json_schema(), "strict": False},
        ),
        (Joke, {"json": Joke.model_json_schema(), "disable_additional_properties": True}),
    ],
)
def test_openais_response_format(
    chat: ChatVLLMSwift, engines: list[FakeEngine], response_format: Any, outputs: Any
) -> None:
    chat.bind_tools([Joke], response_format=response_format).invoke("A joke!")
    expected = None if outputs is None else StructuredOutputsParams(**outputs)
    assert engines[0].chat_options[0]["structured_outputs"] == expected
    assert engines[0].chat_options[0]["tools"]


def test_vllms_structured_outputs(chat: ChatVLLMSwift, engines: list[FakeEngine]) -> None:
    chat.invoke("Yes or no?", structured_outputs={"choice": ["yes", "no"]})
    always = chat.model_copy(
        update={"structured_outputs": {"regex": "[a-z]+"}, "engines": chat.engines}
    )
    always.invoke("Go on.")
    choice, regex = (options["structured_outputs"] for options in engines[0].chat_options)
    assert choice.choice == ("yes", "no")
    assert regex.regex == "[a-z]+"


def test_two_formats_at_once(chat: ChatVLLMSwift) -> None:
    with pytest.raises(InvalidArgumentError, match="not both"):
        chat.invoke(
            "Hi", structured_outputs={"regex": "a"}, response_format={"type": "json_object"}
        )
    with pytest.raises(UnsupportedError, match="structural_tag"):
        chat.invoke("Hi", response_format={"type": "structural_tag"})


def test_template_variables(chat: ChatVLLMSwift, engines: list[FakeEngine]) -> None:
    thinking = ChatVLLMSwift(
        model="a/model", chat_template_kwargs={"enable_thinking": True}, engines=chat.engines
    )
    thinking.invoke("Hi")
    thinking.invoke("Hi", chat_template_kwargs={"enable_thinking": False})
    assert [options["enable_thinking"] for options in engines[0].chat_options] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        ({"chat_template_kwargs": 3}, "must be a dict, not 3"),
        ({"chat_template_kwargs": {"structured_outputs": None}}, "'structured_outputs'"),
        ({"chat_template_kwargs": {"messages": []}}, "'messages'"),
        ({"response_format": "json"}, "not 'json'"),
    ],
    ids=str,
)
def test_wrong_arguments_of_a_call(
    chat: ChatVLLMSwift, arguments: dict[str, Any], culprit: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=culprit):
        chat.invoke("Hi", **arguments)
