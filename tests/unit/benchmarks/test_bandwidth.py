"""A decode case's share of read bandwidth, and the probe that it is a share of."""

from __future__ import annotations

from typing import cast

import pytest

from benchmarks.bandwidth import Probe, Roofline, compiler
from benchmarks.child import Child
from benchmarks.report import Row


class Machine(Probe):
    """Reads as fast as it is told, probe by probe."""

    def __init__(self, *gigabytes: float) -> None:
        self.speeds = [1e9 * one for one in gigabytes]

    def measure(self) -> float:
        return self.speeds.pop(0)


def row_of(machine: Machine, *rates: float) -> Row:
    """The row of rounds of so many tokens per second, of 100 MB each."""
    left, child = list(rates), cast(Child, object())
    roofline = Roofline(machine, 1e8, lambda *_: left.pop(0))
    assert [roofline.measure(child, seed) for seed in range(len(rates))] == list(rates)
    row = Row("decode", "tok/s", max(rates))
    roofline.enter(row, child)
    return row


def test_the_fastest_round_is_set_against_the_best_probe() -> None:
    row = row_of(Machine(50, 49, 99, 100, 96, 95), 400, 700, 600)
    assert row.roofline == pytest.approx(0.7)
    assert "62% to 80% of 49.0 to 100.0 GB/s in the 3 of 3 rounds" in row.notes[0]


def test_rounds_count_in_which_the_machine_read_most() -> None:
    row = row_of(Machine(50, 50, 99, 100), 800, 700)
    assert row.roofline == pytest.approx(0.7)
    assert "70% to 160% of 50.0 to 100.0 GB/s" in row.notes[0]


def test_a_round_in_which_the_machine_changed_does_not_count() -> None:
    row = row_of(Machine(50, 100, 50, 50), 900, 350)
    assert row.roofline == pytest.approx(0.7)
    assert "70% to 70% of 50.0 to 50.0 GB/s in the 1 of 2 rounds" in row.notes[0]


def test_a_machine_that_changed_in_every_round_gives_no_share() -> None:
    row = row_of(Machine(50, 100, 100, 50), 900, 350)
    assert row.roofline is None
    assert "50.0 to 100.0 GB/s" in row.notes[0]


@pytest.mark.skipif(compiler() is None, reason="there is no C compiler")
def test_the_probe_answers_every_time_it_is_asked() -> None:
    with Probe() as probe:
        read = [probe.measure(), probe.measure()]
        row = probe.row()
    assert min(read) > 0
    assert row.ours is not None
    assert row.ours * 1e9 >= max(read)
    assert "probes: 3" in row.notes[0]
