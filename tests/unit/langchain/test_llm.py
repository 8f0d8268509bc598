from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import Generation
from langchain_core.prompts import PromptTemplate

from vllm_swift_integrations.langchain import VLLMSwift

if TYPE_CHECKING:
    from tests.unit.langchain.conftest import FakeEngine

TEXT = "Tides rise and fall."


@pytest.fixture
def llm(engines: list[FakeEngine]) -> VLLMSwift:
    return VLLMSwift(model="a/model", temperature=0, max_tokens=50)


def test_invoke_sends_the_prompt_as_it_is(llm: VLLMSwift, engines: list[FakeEngine]) -> None:
    assert llm.invoke("The sea") == TEXT
    assert [prompt for prompt, _ in engines[0].requests] == [["The sea"]]
    assert engines[0].chats == []


def test_a_batch_is_one_engine_batch(llm: VLLMSwift, engines: list[FakeEngine]) -> None:
    assert llm.batch(["One", "Two", "Three"]) == [TEXT] * 3
    assert [prompt for prompt, _ in engines[0].requests] == [["One", "Two", "Three"]]


async def test_an_async_batch_is_one_engine_batch(
    llm: VLLMSwift, engines: list[FakeEngine]
) -> None:
    assert await llm.abatch(["One", "Two", "Three"]) == [TEXT] * 3
    assert [prompt for prompt, _ in engines[0].requests] == [["One", "Two", "Three"]]


def test_generations_carry_ending_usage_and_timings(llm: VLLMSwift) -> None:
    result = llm.generate(["abc", "abcd"], max_tokens=2)
    assert result.llm_output == {
        "model_name": "a/model",
        "token_usage": {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11},
    }
    ((first,), (second,)) = result.generations
    assert isinstance(first, Generation)
    assert first.generation_info is not None
    assert first.text == "Tides rise"
    assert first.generation_info["finish_reason"] == "length"
    assert first.generation_info["usage"]["prompt_tokens"] == 3
    assert first.generation_info["timings"]["tokens_per_second"] == 42.0
    assert second.generation_info is not None
    assert second.generation_info["usage"]["prompt_tokens"] == 4


class Seen(BaseCallbackHandler):
    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.ending: dict[str, Any] | None = None

    def on_llm_new_token(self, token: str, **_: Any) -> None:
        self.tokens.append(token)

    def on_llm_end(self, response: Any, **_: Any) -> None:
        self.ending = response.generations[0][0].generation_info


def test_a_stream_tells_callbacks_each_token_and_the_ending(llm: VLLMSwift) -> None:
    seen = Seen()
    pieces = list(llm.stream("The sea", config={"callbacks": [seen]}))
    assert pieces == seen.tokens == ["Tides", " rise", " and", " fall", "."]
    assert seen.ending is not None
    assert seen.ending["finish_reason"] == "stop"
    assert seen.ending["usage"]["completion_tokens"] == 5


async def test_an_async_stream_needs_no_thread_pool(
    llm: VLLMSwift, monkeypatch: pytest.MonkeyPatch
) -> None:
    await llm.ainvoke("Open the engine.")

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a thread pool was used")

    monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", refuse)
    assert await llm.ainvoke("The sea") == TEXT
    assert "".join([piece async for piece in llm.astream("The sea")]) == TEXT


async def test_an_async_stream_tells_callbacks_each_token(llm: VLLMSwift) -> None:
    seen = Seen()
    pieces = [piece async for piece in llm.astream("The sea", config={"callbacks": [seen]})]
    assert pieces == seen.tokens == ["Tides", " rise", " and", " fall", "."]


def test_closing_a_stream_cancels_the_request(llm: VLLMSwift, engines: list[FakeEngine]) -> None:
    stream = llm.stream("The sea")
    next(stream)
    stream.close()
    assert engines[0].cancelled.is_set()


async def test_closing_an_async_stream_cancels_the_request(
    llm: VLLMSwift, engines: list[FakeEngine]
) -> None:
    stream = llm.astream("The sea")
    await anext(stream)
    await stream.aclose()
    async with asyncio.timeout(10):
        while not engines[0].cancelled.is_set():
            await asyncio.sleep(0)


def test_in_a_chain(llm: VLLMSwift) -> None:
    chain = PromptTemplate.from_template("The {thing}") | llm | StrOutputParser()
    assert chain.invoke({"thing": "sea"}) == TEXT
    assert "".join(chain.stream({"thing": "sea"})) == TEXT


def test_tokens_are_those_of_the_model(llm: VLLMSwift) -> None:
    assert llm.get_num_tokens("three short words") == 3


def test_traces_name_model_and_provider(llm: VLLMSwift) -> None:
    params = llm._get_ls_params()
    assert (params["ls_provider"], params["ls_model_name"]) == ("vllm-swift", "a/model")
    assert (params["ls_model_type"], params["ls_temperature"]) == ("llm", 0.0)
