"""Whatever runs beside a request, and whatever is shared or cancelled: its tokens stay the same.

So do their logprobs.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import tiny_llama
from tests.integration.budgets import budget
from vllm_swift_engine import Engine, Logprob, RequestOutput, SamplingParams, TokenStream

SCHEDULES = 50
VOCABULARY = len(tiny_llama.TOKENS)
CONTEXT: int = tiny_llama.CONFIG["max_position_embeddings"]
Tokens = list[list[int]]
TokenLogprobs = dict[int, Logprob]
#: Some tokens are forced, some drawn, and JSON is closed before its tokens run out.
GRAMMARS: list[dict[str, Any]] = [
    {"regex": "[a-d]{2,12}, and then [a-d]+"},
    {"choice": ["all of it", "all of them", "none"]},
    {"json": {"type": "array", "items": {"enum": ["red", "reddish", "blue", 1.5, None]}}},
]
#: A token, and its logprobs where the request asks for them.
Drawn = tuple[int, TokenLogprobs | None]


@dataclasses.dataclass
class Work:
    prompt: list[int]
    params: SamplingParams
    priority: int
    #: Chunks to read before the stream is closed; None reads all.
    close_after: int | None


@pytest.fixture(scope="module")
def alone(model: Path) -> Iterator[Engine]:
    """An engine of four blocks of KV cache, just enough for one request."""
    with Engine(model, device="cpu", memory_budget=budget(model, 4), share=False) as engine:
        if engine.info.kernels == "reference":
            pytest.skip("stock MLX ops do not promise this")
        yield engine


def some_sampling(rng: random.Random) -> dict[str, Any]:
    """Up to three parameters that look back at what a sequence has drawn or report on it, and a
    grammar.
    """
    fields: dict[str, Any] = {
        "presence_penalty": rng.uniform(-2, 2),
        "frequency_penalty": rng.uniform(-2, 2),
        "repetition_penalty": rng.uniform(0.7, 1.6),
        "logit_bias": {rng.randrange(VOCABULARY): 4.0 for _ in range(5)},
        "bad_words": [rng.choice("abcd") + rng.choice("abcd") for _ in range(8)],
        "allowed_token_ids": range(60, 140),
        "logprobs": rng.randint(0, 3),
    }
    if rng.random() < 0.1:
        fields["prompt_logprobs"] = rng.randint(0, 3)
    chosen = {name: fields[name] for name in rng.sample([*fields], rng.choice((0, 0, 1, 2, 3)))}
    # Together they could leave no token to draw.
    if rng.random() < 0.2 and not chosen.keys() & {"bad_words", "allowed_token_ids"}:
        chosen["structured_outputs"] = rng.choice(GRAMMARS)
    return chosen


def some_work(rng: random.Random, contexts: Tokens) -> Work:
    own = [rng.randrange(1, VOCABULARY) for _ in range(rng.randint(1, 20))]
    prompt = [*rng.choice(contexts)[: rng.randint(0, 80)], *own]
    params = SamplingParams(
        n=rng.choice((1, 1, 1, 2, 3)),
        max_tokens=rng.randint(1, min(50, CONTEXT - len(prompt))),
        temperature=rng.choice((0.0, 0.7, 1.3)),
        top_k=rng.choice((0, 40)),
        seed=rng.randrange(1 << 40),
        **some_sampling(rng),
    )
    return Work(
        prompt, params, rng.randint(-1, 1), rng.randint(0, 4) if rng.random() < 0.2 else None
    )


def expected(alone: Engine, work: Work, rng: random.Random) -> list[RequestOutput]:
    """Each of a request's outputs as a request of its own that finds nothing cached."""

    def one(seed: int) -> RequestOutput:
        others = [rng.randrange(1, VOCABULARY) for _ in range(CONTEXT - 1)]
        alone.generate(others, SamplingParams(max_tokens=1))
        params = dataclasses.replace(work.params, n=1, seed=seed)
        output = alone.generate(work.prompt, params)
        assert output.usage.cached_tokens == 0
        return output

    assert work.params.seed is not None
    return [one(work.params.seed + index) for index in range(work.params.n)]


def drawn(tokens: Sequence[int], logprobs: Sequence[TokenLogprobs] | None) -> list[Drawn]:
    return [*zip(tokens, logprobs or [None] * len(tokens), strict=True)]


class Reader:
    """Reads a stream a chunk at a time."""

    def __init__(self, stream: TokenStream, outputs: int) -> None:
        self.drawn: list[list[Drawn]] = [[] for _ in range(outputs)]
        self.stream = stream

    def read(self) -> bool:
        chunk = next(self.stream, None)
        if chunk is not None:
            self.drawn[chunk.index] += drawn(chunk.token_ids, chunk.logprobs)
        return chunk is not None


def play(engine: Engine, plan: list[Work], rng: random.Random) -> list[Reader]:
    """Runs everything at once."""
    readers: list[Reader] = []
    for work in plan:
        stream = engine.stream(work.prompt, work.params, priority=work.priority)
        readers.append(Reader(stream, work.params.n))
        # Lets steps pass before the next one arrives.
        for reader in rng.sample(readers, min(len(readers), rng.randint(0, 2))):
            reader.read()
    for work, reader in zip(plan, readers, strict=True):
        if work.close_after is not None:
            for _ in range(work.close_after):
                reader.read()
            reader.stream.close()
    for reader in readers:
        while reader.read():
            pass
    return readers


@pytest.mark.parametrize(
    ("sequences", "rows", "blocks"), [(4, 16, 5), (8, 64, 6), (3, 7, 4), (16, 256, 8)]
)
def test_every_request_gets_what_it_gets_alone(
    model: Path, alone: Engine, sequences: int, rows: int, blocks: int
) -> None:
    limits = {"max_num_seqs": sequences, "max_num_batched_tokens": rows}
    engine = Engine(
        model,
        device="cpu",
        memory_budget=budget(model, blocks, **limits),
        share=False,
        **limits,
    )
    with engine:
        assert engine.info.kv_blocks == blocks
        before, pinned = engine.stats(), 0
        for seed in range(SCHEDULES):
            rng = random.Random(f"{sequences} {seed}")
            contexts = [[rng.randrange(1, VOCABULARY) for _ in range(80)] for _ in range(2)]
            plan = [some_work(rng, contexts) for _ in range(rng.randint(2, 9))]
            # As many as leave the largest request its room.
            pins = [engine.prefix(context) for context in contexts[: (blocks - 4) // 2]]
            pinned += sum(pin.cached_tokens for pin in pins)
            readers = play(engine, plan, rng)
            for pin in pins:
                pin.close()
            for work, reader in zip(plan, readers, strict=True):
                results = expected(alone, work, rng)
                for got, result in zip(reader.drawn, results, strict=True):
                    whole = drawn(result.outputs[0].token_ids, result.outputs[0].logprobs)
                    closed = work.close_after is not None
                    assert got == (whole[: len(got)] if closed else whole), (seed, work)
                if work.close_after is None:
                    assert reader.stream.prompt_logprobs == results[0].prompt_logprobs
        after = engine.stats()
        # Else it would have shown nothing.
        assert after.preemptions > before.preemptions
        assert after.prefix_hits - before.prefix_hits > 1000
        assert after.running == after.waiting == after.kv_blocks_used == 0
        assert pinned == SCHEDULES * 64 * ((blocks - 4) // 2)
