from __future__ import annotations

from typing import Any

import pytest

from tests.unit.langchain.conftest import FakeEngine
from vllm_swift_integrations.langchain import ChatVLLMSwift, VLLMSwift

PIECES = ("Tides", " rise", " and", " fall", ".")
LIKELY = [
    {"token": " a", "bytes": [32, 97], "logprob": -0.5},
    {"token": " é", "bytes": [32, 0xC3, 0xA9], "logprob": -1.5},
]


def content(top: int) -> list[dict[str, Any]]:
    """What langchain-openai gives for the fake engine's answer."""
    own = [{"token": piece, "bytes": [*piece.encode()], "logprob": -2.5} for piece in PIECES]
    return [{**entry, "top_logprobs": [*LIKELY, entry][:top]} for entry in own]


@pytest.mark.parametrize("top", [0, 1, 2, 3])
async def test_a_chat_models_answer_has_them_in_its_metadata(
    engines: list[FakeEngine], top: int
) -> None:
    chat = ChatVLLMSwift(model="a/model", logprobs=top)
    chunks = list(chat.stream("Hi"))
    assert chunks[0].response_metadata["logprobs"] == {"content": content(top)[:1]}
    (whole, *rest) = chunks
    for chunk in rest:
        whole = whole + chunk
    for answer in (chat.invoke("Hi"), await chat.ainvoke("Hi"), whole):
        assert answer.response_metadata["logprobs"] == {"content": content(top)}


async def test_a_completion_has_them_in_its_generation_info(engines: list[FakeEngine]) -> None:
    llm = VLLMSwift(model="a/model")
    results = [llm.generate(["Hi"], logprobs=2), await llm.agenerate(["Hi"], logprobs=2)]
    for result in results:
        info = result.generations[0][0].generation_info
        assert info is not None
        assert info["logprobs"] == {"content": content(2)}


def test_there_are_none_where_nobody_asks(engines: list[FakeEngine]) -> None:
    chat = ChatVLLMSwift(model="a/model")
    assert "logprobs" not in chat.invoke("Hi").response_metadata
    assert all("logprobs" not in chunk.response_metadata for chunk in chat.stream("Hi"))
    info = VLLMSwift(model="a/model").generate(["Hi"]).generations[0][0].generation_info
    assert info is not None
    assert "logprobs" not in info
