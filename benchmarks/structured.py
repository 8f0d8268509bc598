"""`python -m benchmarks structured`: JSON that follows a schema, beside free text and llama.cpp."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.cases import Case, Conditions, Plan, engines, run_case
from benchmarks.child import Child
from benchmarks.engines import STRUCTURED
from benchmarks.report import Row

PEER = "llama.cpp"
CONTEXT = 1024
#: Streams, and what JSON must reach in percent of free text.
STREAMS = ((1, 130.0), (8, 100.0))


def run(plan: Plan) -> tuple[list[Row], str]:
    """The rows, and a paragraph on the machine and how quiet it was."""
    conditions = Conditions()
    rows = [*_rows(plan)]
    quiet, about = conditions.verdict(plan.model)
    return [*rows, quiet], about


def _rows(plan: Plan) -> Iterator[Row]:
    most = max(streams for streams, _ in STREAMS)
    with engines(STRUCTURED, plan.model, CONTEXT, most) as (children, notes):
        for streams, share in STREAMS:
            if plan.wants(f"JSON by schema, {streams} at once"):
                yield from _against_free_text(plan, children, notes, streams, share)
        ours = {kind: child for kind, child in children.items() if not STRUCTURED[kind].peer}
        for case, limit in _costs():
            if plan.wants(case.name):
                row = run_case(case, ours, plan.rounds, notes)
                row.limit = limit
                yield row


def _against_free_text(
    plan: Plan, children: dict[str, Child], notes: list[str], streams: int, least: float
) -> Iterator[Row]:
    at_once = f"{streams} at once"
    json = Case(f"JSON by schema, {at_once}", "tok/s", _ask("json", streams))
    free = Case(f"free text, {at_once}", "tok/s", _ask("free", streams))
    held = run_case(json, children, plan.rounds, notes)
    held.times = {PEER: 3}
    yield held
    open_ = run_case(free, children, plan.rounds, notes)
    yield open_
    share = Row(f"JSON, share of free text, {at_once}", "%", at_least=least)
    if held.ours is not None and open_.ours is not None:
        share.ours = 100 * held.ours / open_.ours
    for peer, value in held.peers.items():
        if peer in open_.peers:
            share.peers[peer] = 100 * value / open_.peers[peer]
    yield share


def _costs() -> Iterator[tuple[Case, float | None]]:
    yield Case("a schema of 20 fields, compiled", "ms", _ask("compile")), 10
    yield Case("the first grammar of a model, with its vocabulary", "ms", _ask("first")), None
    yield Case("a mask, mean", "us", _ask("mask")), None
    yield Case("masks, for each token of an answer", "us", _ask("masks_of_a_token")), 50


def _ask(method: str, *arguments: int) -> Callable[[Child, int], float]:
    return lambda child, seed: float(child.ask(method, *arguments, seed))
