"""What the tables say of numbers, and where they are written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

import pytest

from benchmarks import __main__ as command
from benchmarks.cases import Case, run_case
from benchmarks.child import Child
from benchmarks.engines.serving import Measured, result
from benchmarks.report import Row, table


def test_a_row_says_whether_it_reached_what_it_must() -> None:
    rows = [
        Row("a", "tok/s", 10.0, {"llama.cpp": 2.0}, times={"llama.cpp": 5}),
        Row("b", "tok/s", 9.9, {"llama.cpp": 2.0}, times={"llama.cpp": 5}),
        Row("c", "%", 93.0, at_least=93),
        Row("d", "%", 5.1, limit=5),
        Row("e", "%", at_least=93),
    ]
    ends = [line.rsplit("|", 2)[1].strip() for line in table(rows).splitlines()[2:]]
    assert ends == [
        ">= 5x llama.cpp met",
        ">= 5x llama.cpp **missed**",
        ">= 93 met",
        "<= 5 **missed**",
        ">= 93",
    ]


def test_only_peers_that_were_there_have_columns() -> None:
    assert "mlx-lm" not in table([Row("a", "s", 1.0, {"llama.cpp": 2.0})])


def test_a_share_is_the_median_of_rounds_that_measure_both() -> None:
    """The machine runs at half its speed in the second round."""
    wholes, parts = [100.0, 50.0, 100.0], [90.0, 47.5, 97.0]
    whole = Case("whole", "tok/s", lambda *_: wholes.pop(0))
    case = Case("part", "tok/s", lambda *_: parts.pop(0), whole=whole)
    row = run_case(case, {"ours": cast(Child, object())}, rounds=3, notes=[])
    assert row.ours == pytest.approx(97)
    assert row.share == pytest.approx(0.95)


def test_a_ratio_is_the_median_of_goes_and_a_number_the_least() -> None:
    goes: list[Measured] = [
        {"gap": 4.0, "own": (6.0, 4.0)},
        {"gap": 3.0, "own": (12.0, 6.0)},
        {"gap": 5.0, "own": (4.2, 3.0)},
    ]
    assert result(goes, "gap") == pytest.approx(3)
    assert result(goes, "own") == pytest.approx(1.5)


def test_a_table_replaces_its_own_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = tmp_path / "RESULTS.md"
    monkeypatch.setattr(command, "RESULTS", results)
    command.record("serve", "Serving results, avx2 kernels", "first\n")
    command.record("serve", "Serving results, avx512 kernels", "of another machine\n")
    command.record("cpu", "CPU results, avx2 kernels", "one stream\n")
    command.record("serve", "Serving results, avx2 kernels", "second\n")
    text = results.read_text()
    order = ("# CPU", "one stream", "# Serving results, avx2", "second", "of another machine")
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert "first" not in text


def test_a_table_needs_our_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "missing.gguf"
    monkeypatch.setattr(sys, "argv", ["benchmarks", "cpu", "--model", str(model)])
    with pytest.raises(SystemExit, match=r"engine does not run here.*missing\.gguf"):
        command.main()
