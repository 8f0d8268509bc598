"""The machine the benchmark runs on: what it is, and whether it was quiet."""

from __future__ import annotations

import hashlib
import os
import platform
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Resident:
    """Resident memory of this process in bytes."""

    now: int
    peak: int


def resident_bytes() -> Resident:
    status = Path("/proc/self/status")
    if not status.exists():
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
        return Resident(psutil.Process().memory_info().rss, peak)
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return Resident(*(int(fields[key].split()[0]) * 1024 for key in ("VmRSS", "VmHWM")))


def description() -> str:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), model)
    return f"{os.cpu_count()} x {model}, {platform.system()} {platform.machine()}"


def spin_spread() -> float:
    """How much longer than the fastest a fixed piece of work takes, at the median of 60 goes."""
    block = b"\0" * (1 << 20)
    times = []
    for _ in range(60):
        start = time.perf_counter()
        hashlib.sha256(block).digest()
        times.append(time.perf_counter() - start)
    return statistics.median(times) / min(times) - 1


class Quietness:
    """What else ran on the machine between its making and `verdict`."""

    def __init__(self) -> None:
        self._load = os.getloadavg()[0]
        self._spread = spin_spread()
        self._times = psutil.cpu_times()
        self._own = self._own_seconds()

    @staticmethod
    def _own_seconds() -> float:
        times = psutil.Process().cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)

    def verdict(self) -> tuple[bool, str]:
        """Whether the machine was quiet, and the numbers that say so.

        Every worker must have ended, or its own time would count as somebody else's.
        """
        now, then = psutil.cpu_times(), self._times
        spent = {name: getattr(now, name) - getattr(then, name) for name in now._fields}
        total = sum(spent.values()) - spent.get("guest", 0) - spent.get("guest_nice", 0)
        steal = spent.get("steal", 0.0) / total
        busy = total - spent["idle"] - spent.get("iowait", 0.0) - spent.get("steal", 0.0)
        others = max(0.0, busy - (self._own_seconds() - self._own)) / total
        spread = max(self._spread, spin_spread())
        quiet = steal < 0.01 and others < 0.05 and spread < 0.05 and self._load < 0.5
        return quiet, (
            f"load {self._load:.2f} before; other processes took {others:.1%} of the CPU time and "
            f"the hypervisor {steal:.1%}; a fixed piece of work took {spread:.1%} longer at the "
            "median than at best"
        )
