"""`python -m benchmarks cpu`: this engine on the CPU beside llama.cpp and mlx-lm."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

from gguf import GGUFReader

from benchmarks import startup
from benchmarks.bandwidth import Probe, Roofline, compiler
from benchmarks.cases import Case, Conditions, Plan, engines, enter, installed, run_case, say, seeds
from benchmarks.child import Child
from benchmarks.engines import ENGINES, Unavailable
from benchmarks.mlx_folder import metadata
from benchmarks.report import Row

CONTEXT = 2304  # room for the longest case
ROWS = 8
ROWS_CONTEXT = 640


def run(plan: Plan) -> tuple[list[Row], str]:
    """The rows, and a paragraph on the machine and how quiet it was."""
    conditions = Conditions()
    with ExitStack() as stack:
        probe = stack.enter_context(Probe()) if compiler() else None
        if probe is None:
            say("there is no C compiler, so no share of read bandwidth either")
        rows = [*_one_stream(plan, probe), *_eight_rows(plan), *_loading(plan)]
        if plan.wants("import") or plan.wants("engine start"):
            say("imports and engine start")
            measured = startup.measure(plan.model, plan.rounds)
            rows += [row for row in measured if plan.wants(row.case)]
        if probe is not None:
            rows.append(probe.row())
    quiet, about = conditions.verdict(plan.model)
    rows.append(quiet)
    return rows, about


def _one_stream(plan: Plan, probe: Probe | None) -> Iterator[Row]:
    cases = [
        *(_decode(plan, context, probe) for context in (18, 512, 2048)),
        *(_prefill(tokens) for tokens in (512, 2048)),
        _decode(plan, 18, busy=True),
    ]
    cases = [case for case in cases if plan.wants(case.name)]
    wants_memory = plan.wants("resident memory")
    if not cases and not wants_memory:
        return
    with engines(ENGINES, plan.model, CONTEXT, 1) as (children, notes):
        rows = []
        for case in cases:
            rows.append(run_case(case, children, plan.rounds, notes))
            _revisit(cases, children.get("ours"), max(1, plan.rounds - 1))
        for case, row in zip(cases, rows, strict=True):
            if case.roofline is not None and "ours" in children:
                case.roofline.enter(row, children["ours"])
            yield row
        if wants_memory:
            yield from _memory(children, notes)


def _revisit(cases: list[Case], ours: Child | None, rounds: int) -> None:
    """Rounds of ours alone, for the share of read bandwidth: that may change by the minute."""
    for case in cases:
        if case.roofline is not None and ours is not None:
            for seed in islice(seeds, rounds):
                case.roofline.measure(ours, seed)


def _decode(plan: Plan, context: int, probe: Probe | None = None, *, busy: bool = False) -> Case:
    name = f"decode, 1 stream, context {context}" + (", one busy process beside it" if busy else "")

    def measure(child: Child, seed: int) -> float:
        return float(child.ask("decode", context, plan.tokens, seed))

    if probe is None:
        return Case(name, "tok/s", measure, busy=busy)
    bytes_read = bytes_per_token(plan.model, context + plan.tokens // 2)
    roofline = Roofline(probe, bytes_read, measure)
    return Case(name, "tok/s", roofline.measure, roofline=roofline, busy=busy)


def _prefill(tokens: int) -> Case:
    return Case(
        f"prefill {tokens}",
        "tok/s",
        lambda child, seed: tokens / child.ask("prefill", tokens, seed),
    )


def _eight_rows(plan: Plan) -> Iterator[Row]:
    cases = [case for context in (18, 512) if plan.wants((case := _rows(context, plan)).name)]
    if not cases:
        return
    with engines(ENGINES, plan.model, ROWS_CONTEXT, ROWS) as (children, notes):
        for case in cases:
            yield run_case(case, children, max(1, plan.rounds // 2), notes)


def _rows(context: int, plan: Plan) -> Case:
    return Case(
        f"decode, {ROWS} streams, context {context}",
        "tok/s",
        lambda child, seed: child.ask("decode_rows", ROWS, context, plan.tokens, seed),
    )


def _loading(plan: Plan) -> Iterator[Row]:
    """Fresh processes, one a sample: what a user waits for until the first token is there."""
    loading = Row("load to first token, package imported", "s")
    whole = Row("start of Python to first token", "s")
    if not plan.wants(loading.case) and not plan.wants(whole.case):
        return
    say(loading.case)
    samples: dict[str, list[tuple[float, float]]] = {}
    for _ in range(plan.rounds):
        for kind in installed(ENGINES):
            start = time.perf_counter()
            try:
                with Child(kind, plan.model) as child:
                    child.ask("load", CONTEXT, 1)
                    taken = child.ask("first_token", "The sea is")["load"]
                    samples.setdefault(kind, []).append((taken, time.perf_counter() - start))
            except Unavailable as reason:
                loading.note(f"{kind}: {reason}")
    for row, column in ((loading, 0), (whole, 1)):
        for kind, taken_by in samples.items():
            enter(row, kind, min(times[column] for times in taken_by), min)
        yield row


def _memory(children: dict[str, Child], notes: list[str]) -> Iterator[Row]:
    names = {
        "now": "resident memory, the whole process",
        "growth": "resident memory, growth since before the model was opened",
        "peak growth": "resident memory, growth at its peak",
    }
    memory = {kind: child.ask("memory") for kind, child in children.items()}
    for key, name in names.items():
        row = Row(name, "MB", notes=list(notes))
        for kind, values in memory.items():
            enter(row, kind, values[key] / 1e6, min)
        yield row


def bytes_per_token(model: Path, context: int) -> float:
    """What a decode step must read: every weight but an untied embedding, and a 16-bit KV cache."""
    weights, position = _bytes_of(model)
    return float(weights + position * context)


@functools.cache
def _bytes_of(model: Path) -> tuple[int, int]:
    """Of the weights, and of a position of the KV cache."""
    tensors = {tensor.name: int(tensor.n_bytes) for tensor in GGUFReader(model).tensors}
    if "output.weight" in tensors:
        del tensors["token_embd.weight"]
    keys: dict[str, Any] = metadata(model)
    heads = keys["llama.attention.head_count"]
    head_dim = keys.get("llama.attention.key_length", keys["llama.embedding_length"] // heads)
    kv_heads = keys.get("llama.attention.head_count_kv", heads)
    return sum(tensors.values()), 2 * 2 * keys["llama.block_count"] * kv_heads * head_dim
