"""Rows of results, as a markdown table and as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PEERS = ("llama.cpp", "mlx-lm")


@dataclass
class Row:
    """One case. Values are the best of several goes: the largest rate, the smallest time."""

    case: str
    unit: str
    ours: float | None = None
    peers: dict[str, float] = field(default_factory=dict)
    #: Ours, as a share of the case's whole.
    share: float | None = None
    #: Bytes that ours reads a second, as a share of what the machine can read.
    roofline: float | None = None
    #: What ours must stay under.
    limit: float | None = None
    #: What ours must reach.
    at_least: float | None = None
    #: How many times the peer ours must reach.
    times: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def ratio(self, peer: str) -> float | None:
        if self.ours is None or not self.peers.get(peer):
            return None
        return self.ours / self.peers[peer]

    def as_json(self) -> dict[str, Any]:
        row: dict[str, Any] = {
            "case": self.case,
            "unit": self.unit,
            "ours": self.ours,
            "peers": self.peers,
        }
        optional = ("roofline", "limit", "at_least", "times")
        row.update({k: v for k in optional if (v := getattr(self, k)) not in (None, {})})
        if self.notes:
            row["notes"] = self.notes
        return row


def write_json(rows: list[Row], path: Path) -> None:
    path.write_text(json.dumps([row.as_json() for row in rows], indent=1) + "\n")


def table(rows: list[Row]) -> str:
    """The rows in markdown; notes are numbered and follow the table."""
    notes: list[str] = []
    peers = [peer for peer in PEERS if any(peer in row.peers for row in rows)]
    roofline = any(row.roofline is not None for row in rows)
    titles = ["case", "unit", "ours", *peers, *(f"ours / {peer}" for peer in peers)]
    titles += ["of read bandwidth"] * roofline + ["must be"]
    head = "| " + " | ".join(titles) + " |"
    rule = "|---|---|" + "---:|" * (len(titles) - 2)
    lines = [_line(row, peers, roofline, notes) for row in rows]
    footer = [f"{number}. {note}" for number, note in enumerate(notes, 1)]
    return "\n".join([head, rule, *lines, "", *footer]).rstrip() + "\n"


def _line(row: Row, peers: list[str], roofline: bool, notes: list[str]) -> str:
    notes.extend(note for note in row.notes if note not in notes)
    marks = ", ".join(str(notes.index(note) + 1) for note in row.notes)
    cells = [
        f"{row.case} ({marks})" if marks else row.case,
        row.unit,
        _number(row.ours),
        *(_number(row.peers.get(peer)) for peer in peers),
        *(_suffixed(row.ratio(peer), "x") for peer in peers),
        *[_percent(row.roofline)] * roofline,
        _demands(row),
    ]
    return "| " + " | ".join(cells) + " |"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"


def _suffixed(value: float | None, suffix: str) -> str:
    return "-" if value is None else f"{value:.2f}{suffix}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _demands(row: Row) -> str:
    demands = []
    if row.limit is not None:
        demands.append((f"<= {row.limit:g}", None if row.ours is None else row.ours <= row.limit))
    if row.at_least is not None:
        met = None if row.ours is None else row.ours >= row.at_least
        demands.append((f">= {row.at_least:g}", met))
    for peer, times in row.times.items():
        ratio = row.ratio(peer)
        demands.append((f">= {times:g}x {peer}", None if ratio is None else ratio >= times))
    verdicts = {None: "", True: " met", False: " **missed**"}
    return ", ".join(demand + verdicts[met] for demand, met in demands) or "-"
