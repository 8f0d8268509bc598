"""`python -m benchmarks cpu`: this engine on the CPU beside llama.cpp and mlx-lm.

Every engine has a process of its own. Within a case the engines take turns, round after round, so
that whatever else the machine does hits all of them; a row shows each engine's best round.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import GGUFReader

from benchmarks import machine, startup
from benchmarks.child import Child
from benchmarks.engines import KINDS, Unavailable
from benchmarks.mlx_folder import metadata
from benchmarks.report import Row

PEER_OF = {"xllamacpp": "llama.cpp", "llama-cpp-python": "llama.cpp", "mlx-lm": "mlx-lm"}
CONTEXT = 2304  # room for the longest case
ROWS = 8
ROWS_CONTEXT = 640
PATIENCE_S = 20.0  # an engine that has spent this much on a case gets no further round


@dataclass(frozen=True)
class Plan:
    """How much to measure."""

    model: Path
    rounds: int = 5
    tokens: int = 64
    only: tuple[str, ...] = ()

    def wants(self, case: str) -> bool:
        return not self.only or any(part in case for part in self.only)


@dataclass
class Case:
    """A case and how one engine answers it once."""

    name: str
    unit: str
    measure: Callable[[Child, int], float]
    context: int | None = None  # of a decode case, for the roofline
    busy: bool = False  # beside a process that never rests

    @property
    def pick(self) -> Callable[[list[float]], float]:
        return max if self.unit == "tok/s" else min


def run(plan: Plan) -> tuple[list[Row], str]:
    """The rows, and a paragraph on the machine and how quiet it was."""
    quietness = machine.Quietness()
    before, probe = machine.read_bandwidth()
    rows = [*_one_stream(plan), *_eight_rows(plan), *_loading(plan)]
    if plan.wants("import") or plan.wants("engine start"):
        _say("imports and engine start")
        rows += [row for row in startup.measure(plan.model, plan.rounds) if plan.wants(row.case)]
    bandwidth = max(before, machine.read_bandwidth()[0])
    for row in rows:
        if row.bytes_moved is not None and row.ours is not None:
            row.roofline = row.bytes_moved * row.ours / bandwidth
    quiet, evidence = quietness.verdict()
    rows.append(Row("read bandwidth of the machine", "GB/s", bandwidth / 1e9, notes=[probe]))
    rows.append(Row("the machine was quiet", "1 or 0", float(quiet), notes=[evidence]))
    about = (
        f"{plan.model.name} on {machine.description()}, {time.strftime('%Y-%m-%d %H:%M')}. "
        f"The machine was {'quiet' if quiet else '**not quiet**'}: {evidence}."
    )
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
    with _engines(plan.model, CONTEXT, 1) as (children, notes):
        for case in cases:
            row = _run_case(case, children, plan.rounds, notes)
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
    with _engines(plan.model, ROWS_CONTEXT, ROWS) as (children, notes):
        for case in cases:
            yield _run_case(case, children, max(1, plan.rounds // 2), notes)


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
    _say(loading.case)
    samples: dict[str, list[tuple[float, float]]] = {}
    for _ in range(plan.rounds):
        for kind in _installed():
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
            _enter(row, kind, min(times[column] for times in taken_by), min)
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
            _enter(row, kind, values[key] / 1e6, min)
        yield row


def _run_case(case: Case, children: dict[str, Child], rounds: int, notes: list[str]) -> Row:
    _say(case.name)
    row = Row(case.name, case.unit, notes=list(notes))
    samples: dict[str, list[float]] = {kind: [] for kind in children}
    spent = dict.fromkeys(children, 0.0)
    with ExitStack() as stack:
        if case.busy:
            stack.enter_context(_busy_process())
        for seed in range(rounds):
            for kind in [kind for kind in samples if spent[kind] < PATIENCE_S]:
                start = time.perf_counter()
                try:
                    samples[kind].append(case.measure(children[kind], seed))
                except Unavailable as reason:
                    row.note(f"{kind}: {reason}")
                    spent[kind] = PATIENCE_S
                spent[kind] += time.perf_counter() - start
    for kind, values in samples.items():
        if values:
            _enter(row, kind, case.pick(values), case.pick)
    return row


def _say(case: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {case}", file=sys.stderr, flush=True)


def _enter(row: Row, kind: str, value: float, pick: Callable[[list[float]], float]) -> None:
    """Of two builds of one peer the better counts."""
    if kind == "ours":
        row.ours = value
        return
    peer = PEER_OF[kind]
    row.peers[peer] = pick([value, row.peers.get(peer, value)])
    if kind == "llama-cpp-python" and row.peers[peer] == value:
        row.note("llama.cpp: the better is llama-cpp-python's build")


def _installed() -> list[str]:
    return [kind for kind, engine in KINDS.items() if kind == "ours" or engine.installed]


@contextmanager
def _engines(model: Path, context: int, rows: int) -> Iterator[tuple[dict[str, Child], list[str]]]:
    """A child for every engine that opens the model, and why the others do not."""
    children: dict[str, Child] = {}
    notes: list[str] = []
    with ExitStack() as stack:
        for kind in _installed():
            try:
                child = stack.enter_context(Child(kind, model))
                child.ask("load", context, rows)
                children[kind] = child
            except Unavailable as reason:
                notes.append(f"{kind}: {reason}")
        yield children, notes


@contextmanager
def _busy_process() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


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
