"""`python -m benchmarks serve`: many requests at once, beside llama.cpp's server.

Ours is used with nothing set, directly and through `ChatVLLMSwift`; llama.cpp directly, inside the
process, and over HTTP through `ChatOpenAI`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.cases import Case, Conditions, Plan, engines, run_case
from benchmarks.child import Child
from benchmarks.engines import SERVERS
from benchmarks.report import Row

PEER = "llama.cpp"
SHARED = 4096
CONTEXT = 2048
MANY = 1000
MANY_TOKENS = 16


@dataclass(frozen=True)
class Entry:
    """A case and what ours must reach in it."""

    case: Case
    #: So many times the peer's.
    times: float | None = None
    at_least: float | None = None
    limit: float | None = None
    #: Without the peer.
    alone: bool = False
    #: A second row: ours in percent of the case's whole, and the least it must be.
    least_share: float | None = None

    @property
    def share(self) -> str:
        return f"{self.case.name}, share of the engine alone"


@dataclass(frozen=True)
class Group:
    """Entries that run on the same open engines."""

    #: Tokens of the longest sequence, and how many there may be at once.
    context: int
    rows: int
    entries: list[Entry]


def run(plan: Plan) -> tuple[list[Row], str]:
    """The rows, and a paragraph on the machine and how quiet it was."""
    conditions = Conditions()
    rows = [row for group in _groups(plan.tokens) for row in _rows(plan, group)]
    quiet, about = conditions.verdict(plan.model)
    return [*rows, quiet], about


def _rows(plan: Plan, group: Group) -> Iterator[Row]:
    entries = [entry for entry in group.entries if plan.wants(entry.case.name)]
    if not entries:
        return
    kinds = {k: v for k, v in SERVERS.items() if not (v.peer and all(e.alone for e in entries))}
    with engines(kinds, plan.model, group.context, group.rows) as (children, notes):
        ours = {kind: child for kind, child in children.items() if not SERVERS[kind].peer}
        for entry in entries:
            row = run_case(entry.case, ours if entry.alone else children, plan.rounds, notes)
            row.at_least, row.limit = entry.at_least, entry.limit
            row.times = {} if entry.times is None else {PEER: entry.times}
            yield row
            if entry.least_share is not None:
                yield _share(entry, row)


def _share(entry: Entry, row: Row) -> Row:
    share = Row(entry.share, "%", at_least=entry.least_share)
    if row.share is not None:
        share.ours = 100 * row.share
    return share


def _groups(tokens: int) -> list[Group]:
    return [
        Group(128, 8, [*_batches(8, tokens, 5), *_streams(tokens)]),
        Group(128, 32, [*_batches(32, tokens, 6)]),
        Group(SHARED + 256, 5, [*_long_prompts()]),
        Group(CONTEXT + 128, 16, [_shared_context()]),
        Group(128, 32, [*_many()]),
    ]


def _batches(requests: int, tokens: int, times: float) -> Iterator[Entry]:
    at_once = f"{requests} requests at once"
    alone = Case(
        "the engine on LangChain's prompts", "tok/s", _ask("alone_batch", requests, tokens)
    )
    yield Entry(
        Case(f"{at_once}, the engine", "tok/s", _ask("at_once", requests, tokens)), times=times
    )
    for method in ("abatch", "batch"):
        ask = _ask(f"chat_{method}", requests, tokens)
        case = Case(f"{at_once}, chat.{method}", "tok/s", ask, goes=3, whole=alone)
        yield Entry(case, least_share=93)


def _streams(tokens: int) -> Iterator[Entry]:
    alone = Case("the engine on LangChain's prompt", "tok/s", _ask("alone_stream", tokens))
    shares = (("chat.stream", "chat_stream", 93), ("a chain's astream", "chain_astream", 90))
    for name, method, share in shares:
        case = Case(f"1 stream, {name}", "tok/s", _ask(method, tokens), goes=5, whole=alone)
        yield Entry(case, times=2.2, least_share=share)
    yield Entry(
        Case("8 streams at once, chat.astream", "tok/s", _ask("chat_streams", 8, tokens)), times=4
    )


def _long_prompts() -> Iterator[Entry]:
    turn = f"second turn on {SHARED:,} shared tokens, time to first token"
    yield Entry(_one_of("cold", "s", turn, "second_turn", SHARED))
    yield Entry(_seen("warm", "s", turn, "second_turn", SHARED))
    yield Entry(_seen("percent of cold", "%", turn, "second_turn", SHARED), limit=5)
    beside = f"a prompt of {SHARED:,} tokens beside 4 streams"
    yield Entry(_one_of("time", "s", beside, "beside", 4, SHARED, goes=2))
    yield Entry(_seen("p99 gap", "usual gaps", beside, "beside", 4, SHARED), limit=4)
    yield Entry(_seen("its own time", "x alone", beside, "beside", 4, SHARED), limit=1.5)


def _shared_context() -> Entry:
    """Sixteen questions of 16 tokens each are 0.12 prompts, whatever is shared."""
    name = f"16 requests over {CONTEXT:,} shared tokens, prompt tokens computed"
    return Entry(Case(name, "prompts", _ask("shared_context", 16, CONTEXT)), limit=1.25)


def _many() -> Iterator[Entry]:
    name = f"{MANY:,} requests at once"
    yield Entry(_one_of("the engine", "tok/s", name, "many", MANY, MANY_TOKENS), alone=True)
    grown = _seen("growth of memory", "MB", name, "many", MANY, MANY_TOKENS)
    yield Entry(grown, alone=True, limit=32)


def _ask(method: str, *arguments: int) -> Callable[[Child, int], float]:
    return lambda child, seed: float(child.ask(method, *arguments, seed))


def _one_of(key: str, unit: str, name: str, method: str, *arguments: int, goes: int = 1) -> Case:
    """A case whose measurement has more than one value."""
    return Case(
        f"{name}, {key}",
        unit,
        lambda child, seed: float(child.ask("one_of", key, method, arguments, seed)),
        goes=goes,
    )


def _seen(key: str, unit: str, name: str, method: str, *arguments: int) -> Case:
    """Another value of the measurement of an earlier case."""
    return Case(
        f"{name}, {key}",
        unit,
        lambda child, seed: float(child.ask("seen", key, method, arguments, seed)),
        once=True,
    )
