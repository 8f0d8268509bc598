"""An engine in memory with the public API of `vllm_swift_engine.Engine`."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

import vllm_swift_engine
from vllm_swift_engine.chat.deltas import ChatDelta, ChatMessage, InvalidToolCall, ToolCallDelta
from vllm_swift_engine.chat.request import joined
from vllm_swift_engine.config import SamplingParams
from vllm_swift_engine.outputs import (
    CompletionOutput,
    FinishReason,
    Logprob,
    RequestOutput,
    StreamChunk,
    Timings,
    TokenLogprobs,
    Usage,
)

TIMINGS = Timings(
    queue_s=0.001,
    prefill_s=0.02,
    decode_s=0.3,
    time_to_first_token_s=0.021,
    tokens_per_second=42.0,
)


class FakeParser:
    """Reads `<think>`, `<call NAME>` and `<bad>`, each up to the next tag, a token a character."""

    def __init__(self) -> None:
        self.reasoning_tokens = 0
        self._tag, self._calls = "", 0

    def push(self, text: str, tokens: int = 0) -> ChatDelta:
        deltas = [self._delta(part) for part in re.split("(<[^>]*>)", text) if part]
        return ChatDelta(
            "".join(delta.text for delta in deltas),
            "".join(delta.reasoning for delta in deltas),
            tuple(call for delta in deltas for call in delta.tool_calls),
            tuple(call for delta in deltas for call in delta.invalid_tool_calls),
        )

    def flush(self) -> ChatDelta:
        return ChatDelta()

    def _delta(self, part: str) -> ChatDelta:
        if part.startswith("<call "):
            self._tag, self._calls = "call", self._calls + 1
            number = self._calls - 1
            return ChatDelta(tool_calls=(ToolCallDelta(number, f"call_{number}", part[6:-1], ""),))
        if part.startswith("<"):
            self._tag = part[1:-1]
            return ChatDelta()
        match self._tag:
            case "think":
                self.reasoning_tokens += len(part)
                return ChatDelta(reasoning=part)
            case "call":
                return ChatDelta(tool_calls=(ToolCallDelta(self._calls - 1, None, None, part),))
            case "bad":
                bad = InvalidToolCall(None, None, None, part, "It is no call.")
                return ChatDelta(invalid_tool_calls=(bad,))
        return ChatDelta(text=part)


@dataclass(frozen=True)
class FakeRequest:
    prompt_token_ids: list[int]
    structured_outputs: Any
    skip_special_tokens: bool = True
    new_parser: type[FakeParser] = FakeParser

    def parse(self, output: CompletionOutput) -> ChatMessage:
        parser = FakeParser()
        return joined([parser.push(output.text)], parser.reasoning_tokens)


class FakeEngine:
    """Answers every prompt with `reply`, one token a piece.

    No awaited answer comes before `together` requests have been there at once.
    """

    opened: ClassVar[list[FakeEngine]]
    reply: ClassVar[Sequence[str]]
    together: ClassVar[int] = 1

    def __init__(self, model: str, **options: Any) -> None:
        self.model, self.options = model, options
        self.info = SimpleNamespace(max_model_len=2048)
        self.chats: list[list[dict[str, Any]]] = []
        self.chat_options: list[dict[str, Any]] = []
        self.requests: list[tuple[Any, SamplingParams]] = []
        self.limits: list[Mapping[str, Any]] = []
        self.opened_in = threading.current_thread()
        self.threads: set[threading.Thread] = set()
        self.started, self.cancelled = threading.Event(), threading.Event()
        self.closed = False
        self.running = self.most_running = 0
        type(self).opened.append(self)

    def close(self) -> None:
        self.closed = True

    def tokenize(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [0] * add_special_tokens + [1] * len(text.split())

    def chat_request(
        self,
        messages: list[dict[str, Any]],
        *,
        add_generation_prompt: bool = True,
        structured_outputs: Any = None,
        **options: Any,
    ) -> FakeRequest:
        self.chats.append(messages)
        self.chat_options.append({"structured_outputs": structured_outputs, **options})
        words = " ".join(f"{message['role']} {message['content']}" for message in messages)
        words += " tool" * len(options.get("tools") or ())
        prompt = [1] * (len(words.split()) + add_generation_prompt)
        return FakeRequest(prompt, structured_outputs)

    def generate(self, prompt: Any, params: SamplingParams, **limits: Any) -> Any:
        self.limits.append(limits)
        if _is_batch(prompt):
            return [self._answer(one, params) for one in self._submit(prompt, params)]
        return self._answer(self._submit(prompt, params), params)

    async def agenerate(self, prompt: Any, params: SamplingParams, **limits: Any) -> Any:
        self.started.set()
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            await asyncio.sleep(0)
            async with asyncio.timeout(20):
                while self.most_running < self.together:
                    await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        finally:
            self.running -= 1
        return self.generate(prompt, params, **limits)

    def stream(self, prompt: Any, params: SamplingParams, **limits: Any) -> FakeStream:
        self.limits.append(limits)
        self._submit(prompt, params)
        return FakeStream(self, self._chunks(prompt, params))

    def astream(self, prompt: Any, params: SamplingParams, **limits: Any) -> AsyncFakeStream:
        return AsyncFakeStream(self.stream(prompt, params, **limits))

    def _submit(self, prompt: Any, params: SamplingParams) -> Any:
        self.threads.add(threading.current_thread())
        self.requests.append((prompt, params))
        return prompt

    def _answer(self, prompt: Any, params: SamplingParams) -> RequestOutput:
        *_, last = chunks = list(self._chunks(prompt, params))
        text = "".join(chunk.text for chunk in chunks)
        assert last.finish_reason is not None
        assert last.usage is not None
        tokens = [token for chunk in chunks for token in chunk.token_ids]
        logprobs = [entry for chunk in chunks for entry in chunk.logprobs or ()]
        sequence = CompletionOutput(
            *(0, text, tokens, last.finish_reason, last.stop_reason),
            logprobs=None if params.logprobs is None else logprobs,
        )
        return RequestOutput(len(self.requests), [], [sequence], last.usage, TIMINGS)

    def _chunks(self, prompt: Any, params: SamplingParams) -> Iterator[StreamChunk]:
        pieces, reason, stop = list(self.reply), "stop", None
        if params.max_tokens is not None and params.max_tokens < len(pieces):
            pieces, reason = pieces[: params.max_tokens], "length"
        for word in params.stop_strings:
            if word in pieces:
                pieces, reason, stop = pieces[: pieces.index(word)], "stop", word
        for piece in pieces[:-1]:
            yield StreamChunk(0, piece, [7], logprobs=_logprobs(piece, params))
        size, count = len(prompt), len(pieces)
        usage = Usage(size, count, size + count, cached_tokens=2)
        ending: FinishReason = "length" if reason == "length" else "stop"
        last = "".join(pieces[-1:])
        logprobs = _logprobs(last, params)
        yield StreamChunk(0, last, [7], ending, stop, usage, TIMINGS, logprobs)


def _logprobs(piece: str, params: SamplingParams) -> list[TokenLogprobs] | None:
    """The token itself comes third, behind two others."""
    if params.logprobs is None:
        return None
    likely = {1: Logprob(-0.5, 1, " a"), 2: Logprob(-1.5, 2, " é")}
    own = Logprob(-2.5, 3, piece)
    return [{7: own, **dict([*likely.items(), (7, own)][: params.logprobs])}]


class FakeStream:
    def __init__(self, engine: FakeEngine, chunks: Iterator[StreamChunk]) -> None:
        self.engine, self.chunks, self.finished = engine, chunks, False

    def __iter__(self) -> FakeStream:
        return self

    def __next__(self) -> StreamChunk:
        chunk = next(self.chunks)
        self.finished = chunk.finish_reason is not None
        return chunk

    def __enter__(self) -> FakeStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if not self.finished:
            self.engine.cancelled.set()


class AsyncFakeStream:
    def __init__(self, stream: FakeStream) -> None:
        self.stream = stream

    def __aiter__(self) -> AsyncFakeStream:
        return self

    async def __anext__(self) -> StreamChunk:
        await asyncio.sleep(0)
        try:
            return next(self.stream)
        except StopIteration:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> AsyncFakeStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stream.close()


def _is_batch(prompt: Any) -> bool:
    return isinstance(prompt, list) and any(isinstance(item, (str, list)) for item in prompt)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[FakeEngine]:
    """The engines that the test opened, in order."""

    class Engine(FakeEngine):
        opened: ClassVar[list[FakeEngine]] = []
        reply = ("Tides", " rise", " and", " fall", ".")

    monkeypatch.setattr(vllm_swift_engine, "Engine", Engine)
    return Engine.opened
