"""`python -m benchmarks cpu`: this engine on the CPU beside llama.cpp and mlx-lm."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gguf import GGUFReader

from benchmarks import machine, startup
from benchmarks.cases import Case, Conditions, Plan, engines, enter, installed, run_case, say
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
    before, probe = machine.read_bandwidth()
    rows = [*_one_stream(plan), *_eight_rows(plan), *_loading(plan)]
    if plan.wants("import") or plan.wants("engine start"):
        say("imports and engine start")
        rows += [row for row in startup.measure(plan.model, plan.rounds) if plan.wants(row.case)]
    bandwidth = max(before, machine.read_bandwidth()[0])
    for row in rows:
        if row.bytes_moved is not None and row.ours is not None:
            row.roofline = row.bytes_moved * row.ours / bandwidth
    rows.append(Row("read bandwidth of the machine", "GB/s", bandwidth / 1e9, notes=[probe]))
    quiet, about = conditions.verdict(plan.model)
    rows.append(quiet)
    return rows, about


def _one_stream(plan: Plan) -> Iterator[Row]:
    cases = [
        *(_decode(context, plan.tokens) for context in (18, 512, 2048)),
        *(_prefill(tokens) for tokens in (512, 2048)),
        _decode(18, plan.tokens, busy=True),
    ]
    cases = [case for case in cases if plan.wants(case.name)]
    wants_memory = plan.wants("resident memory")
    if not cases and not wants_memory:
        return
    with engines(ENGINES, plan.model, CONTEXT, 1) as (children, notes):
        for case in cases:
            row = run_case(case, children, plan.rounds, notes)
            if case.context is not None:
                row.bytes_moved = bytes_per_token(plan.model, case.context + plan.tokens // 2)
            yield row
        if wants_memory:
            yield from _memory(children, notes)


def _decode(context: int, tokens: int, *, busy: bool = False) -> Case:
    name = f"decode, 1 stream, context {context}" + (", one busy process beside it" if busy else "")
    return Case(
        name,
        "tok/s",
        lambda child, seed: child.ask("decode", context, tokens, seed),
        context=context,
        busy=busy,
    )


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
    tensors = {tensor.name: int(tensor.n_bytes) for tensor in GGUFReader(model).tensors}
    if "output.weight" in tensors:
        del tensors["token_embd.weight"]
    keys: dict[str, Any] = metadata(model)
    heads = keys["llama.attention.head_count"]
    head_dim = keys.get("llama.attention.key_length", keys["llama.embedding_length"] // heads)
    kv_heads = keys.get("llama.attention.head_count_kv", heads)
    position = 2 * 2 * keys["llama.block_count"] * kv_heads * head_dim
    return float(sum(tensors.values()) + position * context)
