"""LangChain chains on the real model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage, trim_messages
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable

from vllm_swift_engine import Engine, SamplingParams
from vllm_swift_engine.errors import (
    EmptyPromptError,
    InvalidArgumentError,
    ModelNotFoundError,
    PromptTooLongError,
    UnsupportedError,
)
from vllm_swift_integrations.langchain import ChatVLLMSwift, VLLMSwift

pytestmark = pytest.mark.model

QUESTION = "Name three primary colors."


@pytest.fixture(scope="module")
def model(smollm2: Path) -> str:
    return str(smollm2)


@pytest.fixture
def engine(smollm2_engine: Engine) -> Engine:
    return smollm2_engine


@pytest.fixture(scope="module")
def chat(model: str) -> Iterator[ChatVLLMSwift]:
    with ChatVLLMSwift(model=model, temperature=0, max_tokens=24) as chat:
        yield chat


@pytest.fixture(scope="module")
def llm(model: str) -> Iterator[VLLMSwift]:
    with VLLMSwift(model=model, temperature=0, max_tokens=12) as llm:
        yield llm


@pytest.fixture(scope="module")
def chain(chat: ChatVLLMSwift) -> Runnable[dict[str, str], str]:
    prompt = ChatPromptTemplate.from_messages(
        [("system", "You are a helpful AI assistant."), ("human", "{question}")]
    )
    return prompt | chat | StrOutputParser()


def _running(engine: Engine) -> int:
    stats = engine.stats()
    return stats.running + stats.waiting


async def _until_idle(engine: Engine) -> None:
    async with asyncio.timeout(60):
        while _running(engine):
            await asyncio.sleep(0)


def test_a_chain_answers(chain: Runnable[dict[str, str], str]) -> None:
    assert "Blue" in chain.invoke({"question": QUESTION})


async def test_every_way_to_call_a_chain_gives_the_same_text(
    chain: Runnable[dict[str, str], str],
) -> None:
    asked = {"question": QUESTION}
    text = chain.invoke(asked)
    assert "".join(chain.stream(asked)) == text
    assert await chain.ainvoke(asked) == text
    assert "".join([piece async for piece in chain.astream(asked)]) == text
    assert chain.batch([asked, asked]) == [text, text]
    assert await chain.abatch([asked, asked]) == [text, text]


def test_the_answer_is_the_engines(chat: ChatVLLMSwift, engine: Engine) -> None:
    prompt = engine.apply_chat_template([{"role": "user", "content": QUESTION}])
    output = engine.generate(prompt, SamplingParams(temperature=0, max_tokens=24))
    answer = chat.invoke(QUESTION)
    assert answer.content == output.text
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["input_tokens"] == len(prompt)
    assert answer.usage_metadata["output_tokens"] == output.usage.completion_tokens


def test_a_stream_arrives_in_pieces_that_add_up(chat: ChatVLLMSwift) -> None:
    pieces = list(chat.stream(QUESTION))
    whole = AIMessageChunk(content="")
    for piece in pieces:
        whole += piece
    answer = chat.invoke(QUESTION)
    assert len(pieces) > 3
    assert pieces[-1].chunk_position == "last"
    assert whole.content == answer.content
    assert whole.usage_metadata is not None
    assert answer.usage_metadata is not None
    for count in ("input_tokens", "output_tokens", "total_tokens"):
        assert whole.usage_metadata[count] == answer.usage_metadata[count]
    assert whole.response_metadata.keys() == answer.response_metadata.keys()


def test_an_answer_says_what_made_it_and_why_it_ended(chat: ChatVLLMSwift, model: str) -> None:
    metadata = chat.invoke("Count from 1 to 50.", max_tokens=3).response_metadata
    assert metadata["model_name"] == model
    assert metadata["model_provider"] == "vllm-swift"
    assert metadata["finish_reason"] == "length"
    timings = metadata["timings"]
    assert 0 < timings["prefill_s"] <= timings["time_to_first_token_s"]
    assert timings["tokens_per_second"] > 0


def test_stop_is_not_shown(chat: ChatVLLMSwift) -> None:
    whole = str(chat.invoke(QUESTION).content)
    word = whole.split()[2]
    answer = chat.invoke(QUESTION, stop=[word])
    assert answer.content == whole[: whole.index(word)]
    assert answer.response_metadata["finish_reason"] == "stop"
    assert answer.response_metadata["stop_reason"] == word
    streamed = "".join(str(piece.content) for piece in chat.stream(QUESTION, stop=[word]))
    assert streamed == answer.content


def test_a_call_overrides_what_the_model_was_made_with(chat: ChatVLLMSwift) -> None:
    assert _output_tokens(chat.invoke(QUESTION, max_tokens=2)) == 2
    assert _output_tokens(chat.bind(max_tokens=3).invoke(QUESTION)) == 3
    drawn = [chat.invoke(QUESTION, temperature=2.0, seed=seed).content for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def _output_tokens(message: Any) -> int:
    return int(message.usage_metadata["output_tokens"])


@pytest.mark.parametrize("name", ["prompt_logprobs", "best_of"])
def test_a_parameter_that_is_not_supported_names_itself(chat: ChatVLLMSwift, name: str) -> None:
    with pytest.raises(UnsupportedError, match=name):
        chat.invoke(QUESTION, **{name: 1})
    assert chat.invoke(QUESTION).content, "the engine is still usable"


def test_bad_input_is_a_typed_error(chat: ChatVLLMSwift, llm: VLLMSwift) -> None:
    with pytest.raises(EmptyPromptError):
        chat.invoke([])
    with pytest.raises(EmptyPromptError):
        llm.invoke("")
    with pytest.raises(InvalidArgumentError, match="temperature"):
        chat.invoke(QUESTION, temperature=float("nan"))
    with pytest.raises(PromptTooLongError):
        chat.invoke("word " * 9000)
    with pytest.raises(UnsupportedError, match="image_url"):
        chat.invoke([HumanMessage([{"type": "image_url", "image_url": {"url": "data:,"}}])])
    assert chat.invoke(QUESTION).content, "the engine is still usable"


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"missing\.gguf"):
        ChatVLLMSwift(model=str(tmp_path / "missing.gguf")).invoke(QUESTION)


def test_closing_a_stream_cancels_the_request(chat: ChatVLLMSwift, engine: Engine) -> None:
    stream = chat.stream("Tell me a very long story.", max_tokens=4000)
    next(stream)
    stream.close()
    assert chat.invoke(QUESTION).content, "the engine is free for the next request"
    assert _running(engine) == 0


async def test_closing_an_async_stream_of_a_chain_cancels_the_request(
    chat: ChatVLLMSwift, engine: Engine
) -> None:
    stream = (chat | StrOutputParser()).astream("Tell me a very long story.", max_tokens=4000)
    await anext(stream)
    assert _running(engine) == 1
    await stream.aclose()
    await _until_idle(engine)


async def test_cancelling_tasks_cancels_their_requests(chat: ChatVLLMSwift, engine: Engine) -> None:
    story = "Tell me a very long story."
    async with asyncio.timeout(60):
        tasks = [asyncio.create_task(chat.ainvoke(story, max_tokens=4000)) for _ in range(3)]
        while _running(engine) < 3:
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ended)
    await _until_idle(engine)


def test_two_models_share_one_native_engine(chat: ChatVLLMSwift, engine: Engine) -> None:
    models = engine.stats().models
    with ChatVLLMSwift(model=chat.model) as second:
        assert second.get_num_tokens(QUESTION) > 0
        assert engine.stats().models == models
    assert chat.invoke(QUESTION).content


def test_usage_callback(chat: ChatVLLMSwift, model: str) -> None:
    usage = UsageMetadataCallbackHandler()
    answers = chat.batch([QUESTION, "Name three animals."], config={"callbacks": [usage]})
    assert usage.usage_metadata[model]["output_tokens"] == sum(map(_output_tokens, answers))


async def test_events(chain: Runnable[dict[str, str], str]) -> None:
    asked = {"question": QUESTION}
    events = [event async for event in chain.astream_events(asked, version="v2")]
    streamed = [
        event["data"]["chunk"].content
        for event in events
        if event["event"] == "on_chat_model_stream"
    ]
    assert "".join(streamed) == chain.invoke(asked)


async def test_events_of_many_runs_come_from_one_batch(
    chain: Runnable[dict[str, str], str], engine: Engine
) -> None:
    asked = [{"question": f"What is {number} plus {number}?"} for number in range(6)]
    before = engine.stats()
    alone = [await chain.ainvoke(one) for one in asked]
    between = engine.stats()

    async def streamed(one: dict[str, str]) -> str:
        events = chain.astream_events(one, version="v2")
        return "".join(
            [
                event["data"]["chunk"].content
                async for event in events
                if event["event"] == "on_chat_model_stream"
            ]
        )

    assert await asyncio.gather(*map(streamed, asked)) == alone
    assert 2 * (engine.stats().steps - between.steps) < between.steps - before.steps


def test_messages_are_counted_and_trimmed_by_the_models_tokenizer(
    chat: ChatVLLMSwift, engine: Engine
) -> None:
    messages = [SystemMessage("Be brief."), HumanMessage("word " * 200), HumanMessage(QUESTION)]
    text = engine.render_chat_template(
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}],
        add_generation_prompt=False,
    )
    counted = chat.get_num_tokens_from_messages([messages[0], messages[2]])
    assert counted == len(engine.tokenize(text, add_special_tokens=False))
    trimmed = trim_messages(
        messages, max_tokens=100, token_counter=chat, include_system=True, start_on="human"
    )
    assert trimmed == [messages[0], messages[2]]


async def test_completions(llm: VLLMSwift) -> None:
    prompts = ["The capital of France is", "The capital of Italy is"]
    france, italy = llm.batch(prompts)
    assert "Paris" in france
    assert "Rome" in italy
    assert llm.invoke(prompts[0]) == france
    assert "".join(llm.stream(prompts[0])) == france
    assert await llm.ainvoke(prompts[1]) == italy
    assert "".join([piece async for piece in llm.astream(prompts[1])]) == italy
    assert await llm.abatch(prompts) == [france, italy]


def test_a_batch_gives_what_each_gives_alone(
    chat: ChatVLLMSwift, chain: Runnable[dict[str, str], str], engine: Engine
) -> None:
    asked = [{"question": f"What is {number} plus {number}?"} for number in range(12)]
    alone = [chain.invoke(one) for one in asked]
    assert chain.batch(asked) == alone
    assert chain.batch(asked, {"max_concurrency": 2}) == alone
    assert _running(engine) == 0


def test_one_input_that_fails_leaves_the_others(chat: ChatVLLMSwift) -> None:
    long, short = "word " * 9000, QUESTION
    answers: list[Any] = chat.batch([short, long, short], return_exceptions=True)
    assert answers[0].content == answers[2].content
    assert isinstance(answers[1], PromptTooLongError)
    with pytest.raises(PromptTooLongError):
        chat.batch([short, long, short])


async def test_a_batch_that_fails_cancels_its_requests(chat: ChatVLLMSwift, engine: Engine) -> None:
    stories = ["Tell me a very long story."] * 4
    answers = chat.batch_as_completed(["word " * 9000, *stories], max_tokens=4000)
    with pytest.raises(PromptTooLongError):
        next(answers)
    await _until_idle(engine)
