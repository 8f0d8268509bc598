"""What `serve` measures: many requests at once, directly and through LangChain.

Both engines run the same code here, but for how a request is made. Times are those of the caller.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable

from benchmarks.engines import Opened, Unavailable, prompt_ids
from benchmarks.engines.streams import Streams

T = TypeVar("T")
#: What one go gave: numbers, and ratios as what is divided by what.
Measured = dict[str, float | tuple[float, float]]
SHORT = 18
BESIDE_TOKENS = 700
SETTLED = 40  # tokens that each stream has when the prompt comes


def conversation(number: int) -> list[BaseMessage]:
    """Twenty tokens as SmolLM2's template renders them, and a greedy answer of 64 or more."""
    return [SystemMessage(""), HumanMessage(f"Story {1000 + number % 40}")]


class Serving(Opened):
    """One engine in a process of its own, with an event loop that lasts as long as it."""

    chat: BaseChatModel

    def load(self, model: Path, context: int, rows: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._seen: dict[tuple[Any, ...], list[Measured]] = {}
        self.open(model, context, rows)
        self.chat.invoke(conversation(0), max_tokens=1)

    @abstractmethod
    def open(self, model: Path, context: int, rows: int) -> None:
        """Opens the model and makes `chat`, which is greedy."""

    @abstractmethod
    def together(self, prompts: list[list[int]], tokens: int) -> int:
        """Submits all prompts at once; returns how many tokens came."""

    @abstractmethod
    def computed(self, prompts: list[list[int]]) -> int:
        """Submits all prompts at once; returns how many of their tokens were computed."""

    @abstractmethod
    def arrivals(self, prompt: list[int], tokens: int) -> AsyncGenerator[None]:
        """One item for each piece of the answer. Closing it cancels the request."""

    # ------------------------------------------------------------------ several at a time

    def one_of(self, key: str, method: str, arguments: list[int], seed: int) -> float:
        """One of the values that a method measures at once."""
        measured: Measured = getattr(self, method)(*arguments, seed)
        self._seen.setdefault((method, *arguments), []).append(measured)
        return result([measured], key)

    def seen(self, key: str, method: str, arguments: list[int], seed: int) -> float:
        """Another of them, of all the goes there were."""
        if (method, *arguments) not in self._seen:
            self.one_of(key, method, arguments, seed)
        return result(self._seen[(method, *arguments)], key)

    # ------------------------------------------------------------------ tokens per second

    def at_once(self, requests: int, tokens: int, seed: int) -> float:
        prompts = [prompt_ids(SHORT, seed * requests + row) for row in range(requests)]
        return rate(lambda: self.together(prompts, tokens), requests * tokens)

    def chat_batch(self, requests: int, tokens: int, seed: int) -> float:
        asked: list[Any] = conversations(requests, seed)
        batch = self.chat.bind(max_tokens=tokens).batch
        return rate(lambda: produced(batch(asked)), requests * tokens)

    def chat_abatch(self, requests: int, tokens: int, seed: int) -> float:
        asked: list[Any] = conversations(requests, seed)
        abatch = self.chat.bind(max_tokens=tokens).abatch
        return rate(lambda: produced(self._await(abatch(asked))), requests * tokens)

    def chat_stream(self, tokens: int, seed: int) -> float:
        stream = self.chat.bind(max_tokens=tokens).stream
        return rate(lambda: produced(stream(conversation(seed))), tokens)

    def chain_astream(self, tokens: int, seed: int) -> float:
        chain = self.chat.bind(max_tokens=tokens) | StrOutputParser()

        async def read() -> int:
            async for _ in chain.astream(conversation(seed)):
                pass
            return tokens  # a parser does not tell; `chat_stream` asks the same and does

        return rate(lambda: self._await(read()), tokens)

    def chat_streams(self, streams: int, tokens: int, seed: int) -> float:
        chat: Runnable[Any, Any] = self.chat.bind(max_tokens=tokens)

        async def read(asked: list[BaseMessage]) -> int:
            return produced([chunk async for chunk in chat.astream(asked)])

        async def read_all() -> int:
            return sum(await asyncio.gather(*map(read, conversations(streams, seed))))

        return rate(lambda: self._await(read_all()), streams * tokens)

    # ------------------------------------------------------------------ prompts

    def second_turn(self, shared: int, seed: int) -> Measured:
        """Seconds to the first token of a prompt, and of another that goes on from it."""
        first = prompt_ids(shared, seed)
        cold = self._await(self._first_token(first))
        warm = self._await(self._first_token(first + [4000 + 17 * i for i in range(40)]))
        return {"cold": cold, "warm": warm, "percent of cold": (100 * warm, cold)}

    def shared_context(self, requests: int, shared: int, seed: int) -> float:
        """Prompt tokens that were computed, in prompts: 1 at best, `requests` without sharing."""
        context, question = prompt_ids(shared, seed), 16
        prompts = [[*context, *prompt_ids(question, row)] for row in range(requests)]
        return self.computed(prompts) / (shared + question)

    def beside(self, streams: int, prompt: int, seed: int) -> Measured:
        """What a long prompt does to running streams, and they to it.

        A usual gap is the median of the same streams' gaps at the same tokens, without the prompt.
        """
        self.write_cache()
        alone = self._await(self._first_token(prompt_ids(prompt, 2 * seed)))
        first, gaps, taken = self._await(self._gaps(streams, prompt_ids(prompt, 2 * seed + 1)))
        last = first + len(gaps[0])
        usual = [one[first:last] for one in self._await(self._usual_gaps(streams, last))]
        longest, usually = p99([*chain(*gaps)]), statistics.median(chain(*usual))
        return {"time": taken, "p99 gap": (longest, usually), "its own time": (taken, alone)}

    def write_cache(self) -> None:
        """Writes all of the KV cache once, where that is not done when it is made."""

    async def _gaps(self, streams: int, prompt: list[int]) -> tuple[int, list[list[float]], float]:
        """Which gap of a stream is its first with the prompt, that and the later ones of each, and
        the prompt's seconds to its first token."""
        async with self._running(streams) as running:
            await running.reach(SETTLED)
            start = time.perf_counter()
            taken = await self._first_token(prompt)
            end = time.perf_counter()
            await running.reach(max(map(len, running.times)) + 1)  # the gap that its end falls into
        gaps = running.gaps()
        during = [[b - a for a, b in one if b >= start and a <= end] for one in gaps]
        return sum(b < start for _, b in gaps[0]), during, taken

    async def _usual_gaps(self, streams: int, count: int) -> list[list[float]]:
        """The first `count` gaps of each stream."""
        async with self._running(streams) as running:
            await running.reach(count + 1)
        return [[b - a for a, b in one[:count]] for one in running.gaps()]

    def _running(self, streams: int) -> Streams:
        prompts = [prompt_ids(SHORT, 500 + row) for row in range(streams)]
        return Streams([partial(self.arrivals, prompt, BESIDE_TOKENS) for prompt in prompts])

    # ------------------------------------------------------------------ helpers

    async def _first_token(self, prompt: list[int]) -> float:
        start = time.perf_counter()
        async with aclosing(self.arrivals(prompt, 1)) as pieces:
            await anext(pieces)
        return time.perf_counter() - start

    def _await(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(coroutine)


def result(goes: Sequence[Measured], key: str) -> float:
    """The least of a number; of a ratio, the median of the goes, each of which measured both parts
    within seconds: a machine that changes its speed between two goes says nothing of a ratio."""
    values = [go[key] for go in goes]
    ratios = [value[0] / value[1] for value in values if isinstance(value, tuple)]
    return statistics.median(ratios) if ratios else min(v for v in values if isinstance(v, float))


def conversations(count: int, seed: int) -> list[list[BaseMessage]]:
    return [conversation(seed * count + row) for row in range(count)]


def produced(messages: Any) -> int:
    counts = [message.usage_metadata for message in messages if message.usage_metadata]
    return sum(count["output_tokens"] for count in counts)


def rate(run: Callable[[], int], expected: int, least: float = 0.75) -> float:
    """Tokens per second of what came, which has to be so much at least of what was asked for."""
    start = time.perf_counter()
    came = run()
    elapsed = time.perf_counter() - start
    if came < least * expected:
        raise Unavailable(f"{came} tokens came and {expected} were asked for")
    return came / elapsed


def p99(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.99 * len(values)))]
