"""Batches. The oracle is LangChain's own `Runnable.batch`, which a model may override."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any
from uuid import UUID, uuid4

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.tracers.context import collect_runs

from tests.unit.langchain.conftest import FakeEngine
from vllm_swift_engine.errors import UnsupportedError
from vllm_swift_integrations.langchain import ChatVLLMSwift, VLLMSwift

TEXT = "Tides rise and fall."
MANY = 20
QUESTIONS = [f"What do {number} tides do?" for number in range(MANY)]


@pytest.fixture
def chat(engines: list[FakeEngine]) -> ChatVLLMSwift:
    return ChatVLLMSwift(model="a/model")


@pytest.fixture
def all_together(engines: list[FakeEngine], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeEngine, "together", MANY)


async def _in_thread(batch: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(batch)


async def _collect(chat: ChatVLLMSwift) -> list[Any]:
    return [answer async for answer in chat.abatch_as_completed(QUESTIONS)]


WAYS: dict[str, Callable[[ChatVLLMSwift], Awaitable[Any]]] = {
    "batch": lambda chat: _in_thread(lambda: chat.batch(QUESTIONS)),
    "batch_as_completed": lambda chat: _in_thread(lambda: [*chat.batch_as_completed(QUESTIONS)]),
    "generate": lambda chat: _in_thread(
        lambda: chat.generate([[HumanMessage(text)] for text in QUESTIONS]).generations
    ),
    "a chain": lambda chat: _in_thread(
        lambda: (ChatPromptTemplate.from_template("{x}") | chat | StrOutputParser()).batch(
            QUESTIONS
        )
    ),
    "bound": lambda chat: _in_thread(lambda: chat.bind(max_tokens=3).batch(QUESTIONS)),
    "mapped": lambda chat: _in_thread(lambda: chat.map().invoke(QUESTIONS)),
    "in a running loop": lambda chat: asyncio.sleep(0, chat.batch(QUESTIONS)),
    "abatch": lambda chat: chat.abatch(QUESTIONS),
    "abatch_as_completed": _collect,
    "agenerate": lambda chat: chat.agenerate([[HumanMessage(text)] for text in QUESTIONS]),
    "ainvoke": lambda chat: asyncio.gather(*map(chat.ainvoke, QUESTIONS)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.usefixtures("all_together")
async def test_all_inputs_are_in_the_engine_at_once(
    chat: ChatVLLMSwift, engines: list[FakeEngine], way: str
) -> None:
    threads = set(threading.enumerate())
    await WAYS[way](chat)
    assert engines[0].most_running == MANY
    assert len(engines[0].threads) == 1
    left = set(threading.enumerate()) - threads
    assert not [thread for thread in left if "batch" in thread.name]


def test_prompts_of_a_completion_batch_are_one_call(engines: list[FakeEngine]) -> None:
    llm = VLLMSwift(model="a/model")
    assert llm.batch(QUESTIONS) == [TEXT] * MANY
    assert [prompt for prompt, _ in engines[0].requests] == [QUESTIONS]


@pytest.mark.usefixtures("all_together")
def test_completions_as_they_are_completed(engines: list[FakeEngine]) -> None:
    llm = VLLMSwift(model="a/model")
    assert sorted(llm.batch_as_completed(QUESTIONS)) == [(i, TEXT) for i in range(MANY)]
    assert engines[0].most_running == MANY


THREE: RunnableConfig = {"max_concurrency": 3}


async def _collect_three(chat: ChatVLLMSwift) -> list[Any]:
    return [answer async for answer in chat.abatch_as_completed(QUESTIONS, THREE)]


@pytest.mark.parametrize(
    "way",
    [
        lambda chat: _in_thread(lambda: chat.batch(QUESTIONS, THREE)),
        lambda chat: _in_thread(lambda: [*chat.batch_as_completed(QUESTIONS, THREE)]),
        lambda chat: chat.abatch(QUESTIONS, THREE),
        _collect_three,
    ],
    ids=["batch", "batch_as_completed", "abatch", "abatch_as_completed"],
)
async def test_max_concurrency_holds(
    chat: ChatVLLMSwift,
    engines: list[FakeEngine],
    monkeypatch: pytest.MonkeyPatch,
    way: Callable[[ChatVLLMSwift], Awaitable[list[Any]]],
) -> None:
    monkeypatch.setattr(FakeEngine, "together", 3)
    assert len(await way(chat)) == MANY
    assert engines[0].most_running == 3


class Recorder(BaseCallbackHandler):
    """What it is told of each run, in order."""

    def __init__(self) -> None:
        self.runs: dict[UUID, list[Any]] = {}

    def _record(self, run_id: UUID, *told: Any) -> None:
        self.runs.setdefault(run_id, []).append(told)

    def on_chat_model_start(
        self, serialized: Any, messages: Any, *, run_id: UUID, **told: Any
    ) -> None:
        del told["parent_run_id"]
        self._record(run_id, "start", [message.content for message in messages[0]], told)

    def on_llm_end(self, response: Any, *, run_id: UUID, **told: Any) -> None:
        (generation,) = response.generations[0]
        del told["parent_run_id"]
        message = generation.message.model_dump(exclude={"id"})
        assert str(run_id) in generation.message.id
        self._record(run_id, "end", message, told)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **told: Any) -> None:
        self._record(run_id, "error", repr(error))

    def sorted_runs(self) -> list[str]:
        return sorted(map(repr, self.runs.values()))


Batch = Callable[..., list[Any]]
BATCHES: list[Any] = [
    pytest.param(ChatVLLMSwift.batch, id="ours"),
    pytest.param(Runnable.batch, id="inherited"),
]


def _inputs_with_a_bad_one() -> list[Any]:
    bad = HumanMessage([{"type": "image_url", "image_url": {"url": "data:,"}}])
    return ["One?", [bad], [("system", "Be brief."), ("human", "Two?")]]


def test_callbacks_hear_what_the_inherited_batch_tells_them(chat: ChatVLLMSwift) -> None:
    told = []
    for batch in (ChatVLLMSwift.batch, Runnable.batch):
        recorder = Recorder()
        config = {
            "callbacks": [recorder],
            "tags": ["tag"],
            "metadata": {"of": "all"},
            "run_name": "name",
        }
        answers: list[Any] = batch(
            chat, _inputs_with_a_bad_one(), config, return_exceptions=True, stop=[" fall"]
        )
        assert [getattr(answer, "content", None) for answer in answers] == [
            "Tides rise and",
            None,
            "Tides rise and",
        ]
        assert isinstance(answers[1], UnsupportedError)
        told.append(recorder.sorted_runs())
    assert told[0] == told[1]
    assert len(told[0]) == 3


@pytest.mark.parametrize("batch", BATCHES)
def test_each_input_has_its_config(chat: ChatVLLMSwift, batch: Batch) -> None:
    recorders = [Recorder(), Recorder()]
    ids = [uuid4(), uuid4()]
    configs = [
        {"callbacks": [recorder], "run_id": run_id, "metadata": {"number": number}}
        for number, (recorder, run_id) in enumerate(zip(recorders, ids, strict=True))
    ]
    answers = batch(chat, ["One?", "Two?"], configs)
    for number, (recorder, run_id) in enumerate(zip(recorders, ids, strict=True)):
        (start, end) = recorder.runs[run_id]
        assert start[1] == [["One?"], ["Two?"]][number]
        assert start[2]["metadata"]["number"] == number
        assert end[0] == "end"
        assert str(run_id) in answers[number].id


@pytest.mark.parametrize("batch", BATCHES)
def test_the_first_exception_of_the_inputs_is_raised_once_all_have_ended(
    chat: ChatVLLMSwift, batch: Batch
) -> None:
    recorder = Recorder()
    inputs = ["One?", [HumanMessage([{"type": "audio"}])], [HumanMessage([{"type": "file"}])]]
    with pytest.raises(UnsupportedError, match="audio"):
        batch(chat, inputs, {"callbacks": [recorder]})
    assert sorted(run[-1][0] for run in recorder.runs.values()) == ["end", "error", "error"]


@pytest.mark.parametrize("batch", BATCHES)
def test_nothing_is_begun_after_a_failure(chat: ChatVLLMSwift, batch: Batch) -> None:
    recorder = Recorder()
    inputs: list[Any] = [[HumanMessage([{"type": "audio"}])], *QUESTIONS]
    with pytest.raises(UnsupportedError, match="audio"):
        batch(chat, inputs, {"callbacks": [recorder], "max_concurrency": 1})
    assert len(recorder.runs) < 3


class AsyncRecorder(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.ends = 0

    async def on_llm_end(self, *_: Any, **__: Any) -> None:
        await asyncio.sleep(0)
        self.ends += 1


@pytest.mark.parametrize("batch", BATCHES)
def test_asynchronous_callbacks_are_awaited(chat: ChatVLLMSwift, batch: Batch) -> None:
    recorder = AsyncRecorder()
    batch(chat, QUESTIONS, {"callbacks": [recorder]})
    assert recorder.ends == MANY


@pytest.mark.parametrize("batch", BATCHES)
def test_the_callers_context_is_there(chat: ChatVLLMSwift, batch: Batch) -> None:
    seen = []
    variable = ContextVar("variable", default="unset")
    variable.set("set")

    class Looks(BaseCallbackHandler):
        def on_chat_model_start(self, *_: Any, **__: Any) -> None:
            seen.append(variable.get())

    with collect_runs() as runs:
        batch(chat, QUESTIONS, {"callbacks": [Looks()]})
    assert seen == ["set"] * MANY
    assert len(runs.traced_runs) == MANY


@pytest.mark.parametrize("batch", BATCHES)
def test_a_batch_in_a_chain_is_traced_under_it(chat: ChatVLLMSwift, batch: Batch) -> None:
    both = RunnableLambda(lambda texts: batch(chat, texts))
    with collect_runs() as runs:
        both.invoke(["One?", "Two?"])
    (chain,) = runs.traced_runs
    assert [run.run_type for run in chain.child_runs] == ["llm"] * 2


@pytest.mark.parametrize("batch", BATCHES)
def test_a_cached_answer_asks_the_engine_nothing(engines: list[FakeEngine], batch: Batch) -> None:
    chat = ChatVLLMSwift(model="a/model", cache=InMemoryCache())
    chat.invoke("One?")
    answers = batch(chat, ["One?", "Two?"])
    assert [answer.content for answer in answers] == [TEXT] * 2
    assert len(engines[0].requests) == 2


@pytest.mark.parametrize("batch", BATCHES)
def test_the_rate_limiter_is_asked_for_each_input(engines: list[FakeEngine], batch: Batch) -> None:
    class Limiter(BaseRateLimiter):
        acquired = 0

        def acquire(self, *, blocking: bool = True) -> bool:
            self.acquired += 1
            return True

        async def aacquire(self, *, blocking: bool = True) -> bool:
            return self.acquire()

    limiter = Limiter()
    batch(ChatVLLMSwift(model="a/model", rate_limiter=limiter), QUESTIONS)
    assert limiter.acquired == MANY


def test_an_iterator_that_is_closed_cancels_what_runs(
    chat: ChatVLLMSwift, engines: list[FakeEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    chat.invoke("Open the engine.")
    bad: Any = [HumanMessage([{"type": "audio"}])]
    monkeypatch.setattr(FakeEngine, "together", MANY)
    answers = chat.batch_as_completed([bad, *QUESTIONS[1:]], return_exceptions=True)
    index, error = next(answers)
    assert index == 0
    assert isinstance(error, UnsupportedError)
    answers.close()  # type: ignore[attr-defined]  # it is a generator
    assert engines[0].cancelled.is_set()
    assert engines[0].running == 0


@pytest.mark.parametrize("batch", BATCHES)
def test_no_inputs(chat: ChatVLLMSwift, batch: Batch) -> None:
    assert batch(chat, []) == []
    assert list(chat.batch_as_completed([])) == []


@pytest.mark.parametrize("batch", BATCHES)
def test_configs_must_be_as_many_as_inputs(chat: ChatVLLMSwift, batch: Batch) -> None:
    with pytest.raises(ValueError, match="same length"):
        batch(chat, ["One?", "Two?"], [{}])
