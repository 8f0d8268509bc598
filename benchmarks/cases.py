"""Cases of a table, and how the engines take turns in them.

Every engine has a process of its own. Within a case the engines take turns, round after round, so
that whatever else the machine does hits all of them; a row shows each engine's best round.
"""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine
from benchmarks.bandwidth import Roofline
from benchmarks.child import Child
from benchmarks.engines import KINDS, EngineKind, Unavailable
from benchmarks.report import Row

# No prompt of a table begins as another one does, or an engine could reuse its work.
seeds = itertools.count()

PATIENCE_S = 90.0  # an engine that has spent this much on a case gets no further round


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
    roofline: Roofline | None = None  # its rounds are between probes of memory
    busy: bool = False  # beside a process that never rests
    once: bool = False  # another round would tell nothing
    goes: int = 1  # of an engine in each of its rounds: a go of a fraction of a second says little
    whole: Case | None = None  # what ours is a share of: the median of rounds that measure both

    @property
    def pick(self) -> Callable[[list[float]], float]:
        return max if self.unit == "tok/s" else min


def run_case(case: Case, children: dict[str, Child], rounds: int, notes: list[str]) -> Row:
    say(case.name)
    row = Row(case.name, case.unit, notes=list(notes))
    samples: dict[str, list[float]] = {kind: [] for kind in children}
    spent = dict.fromkeys(children, 0.0)
    shares: list[float] = []
    with ExitStack() as stack:
        if case.busy:
            stack.enter_context(_busy_process())
        for _ in range(1 if case.once else rounds):
            own_seeds = list(itertools.islice(seeds, case.goes))
            for kind in [kind for kind in samples if spent[kind] < PATIENCE_S]:
                start = time.perf_counter()
                try:
                    for seed in own_seeds:
                        value, share = _go(case, kind, children[kind], seed)
                        samples[kind].append(value)
                        shares += share
                except Unavailable as reason:
                    row.note(f"{kind}: {reason}")
                    spent[kind] = PATIENCE_S
                spent[kind] += time.perf_counter() - start
    for kind, values in samples.items():
        if values:
            enter(row, kind, case.pick(values), case.pick)
    row.share = statistics.median(shares) if shares else None
    return row


def _go(case: Case, kind: str, child: Child, seed: int) -> tuple[float, list[float]]:
    """What one go gives and, of ours where the case has a whole, what share of it that is."""
    value = case.measure(child, seed)
    if case.whole is None or KINDS[kind].peer is not None:
        return value, []
    return value, [value / case.whole.measure(child, next(seeds))]


def say(case: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {case}", file=sys.stderr, flush=True)


def enter(row: Row, kind: str, value: float, pick: Callable[[list[float]], float]) -> None:
    """Of two builds of one peer the better counts."""
    peer = KINDS[kind].peer
    if peer is None:
        row.ours = value
        return
    row.peers[peer] = pick([value, row.peers.get(peer, value)])
    if kind == "llama-cpp-python" and row.peers[peer] == value:
        row.note("llama.cpp: the better is llama-cpp-python's build")


def installed(kinds: Mapping[str, EngineKind]) -> list[str]:
    return [name for name, kind in kinds.items() if kind.installed]


@contextmanager
def engines(
    kinds: Mapping[str, EngineKind], model: Path, context: int, rows: int
) -> Iterator[tuple[dict[str, Child], list[str]]]:
    """A child for every engine that opens the model, and why the others do not."""
    children: dict[str, Child] = {}
    notes: list[str] = []
    with ExitStack() as stack:
        for kind in installed(kinds):
            try:
                child = stack.enter_context(Child(kind, model))
                child.ask("load", context, rows)
                children[kind] = child
            except Unavailable as reason:
                notes.append(f"{kind}: {reason}")
        yield children, notes


class Conditions:
    """How quiet the machine was while a table was made."""

    def __init__(self) -> None:
        self._quietness = machine.Quietness()

    def verdict(self, model: Path) -> tuple[Row, str]:
        """A row, and a paragraph on the machine; every child must have ended."""
        quiet, evidence = self._quietness.verdict()
        about = (
            f"{model.name} on {machine.description()}, {time.strftime('%Y-%m-%d %H:%M')}. "
            f"The machine was {'quiet' if quiet else '**not quiet**'}: {evidence}."
        )
        return Row("the machine was quiet", "1 or 0", float(quiet), notes=[evidence]), about


@contextmanager
def _busy_process() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()
