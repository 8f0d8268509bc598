"""How fast the machine reads memory, probed right beside what is compared with it.

A virtual machine's cores may move to other cores of the host at any time, and reach twice the
bandwidth or half of it from there: a probe says little of a round that ran a minute later.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from benchmarks.child import Child
from benchmarks.report import Row

AGREE = 0.1  # probes before and after a round that are further apart say nothing of it


def compiler() -> str | None:
    """What compiles the probe."""
    return shutil.which("cc") or shutil.which("clang")


class Probe:
    """Two threads that read memory when asked, in a process that sleeps otherwise."""

    def __init__(self) -> None:
        command = compiler()
        assert command is not None
        source = Path(__file__).with_suffix(".c")
        with tempfile.TemporaryDirectory() as folder:
            program = Path(folder, "bandwidth")
            flags = ["-O3", "-march=native", "-pthread"]
            subprocess.run([command, *flags, str(source), "-o", str(program)], check=True)
            pipe = subprocess.PIPE
            self._process = subprocess.Popen([program], stdin=pipe, stdout=pipe, text=True)
        self._seen: list[float] = []

    def measure(self) -> float:
        """Bytes per second at best within a fifth of a second."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(file=self._process.stdin, flush=True)
        self._seen.append(float(self._process.stdout.readline()))
        return self._seen[-1]

    def row(self) -> Row:
        """The best of all probes, and how far they went apart."""
        self.measure()
        best, least = max(self._seen) / 1e9, min(self._seen) / 1e9
        count = len(self._seen)
        note = f"two threads; probes: {count}, which read {least:.1f} to {best:.1f} GB/s"
        return Row("read bandwidth of the machine", "GB/s", best, notes=[note])

    def __enter__(self) -> Probe:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()


@dataclass(frozen=True)
class Beside:
    """Bytes per second that a round read, and that probes right before and after it did."""

    reached: float
    before: float
    after: float

    @property
    def agree(self) -> bool:
        return abs(self.after - self.before) <= AGREE * max(self.before, self.after)

    @property
    def bandwidth(self) -> float:
        return max(self.before, self.after)

    @property
    def share(self) -> float:
        return self.reached / self.bandwidth


class Roofline:
    """Sets the rounds of a case against what the machine reads right before and after each."""

    def __init__(
        self, probe: Probe, bytes_read: float, tokens_per_second: Callable[[Child, int], float]
    ) -> None:
        """`bytes_read` are those of a token."""
        self._probe = probe
        self._bytes_read = bytes_read
        self._tokens_per_second = tokens_per_second
        self._rounds: dict[Child, list[Beside]] = {}

    def measure(self, child: Child, seed: int) -> float:
        """Tokens per second of a round."""
        before = self._probe.measure()
        rate = self._tokens_per_second(child, seed)
        round_ = Beside(rate * self._bytes_read, before, self._probe.measure())
        self._rounds.setdefault(child, []).append(round_)
        return rate

    def enter(self, row: Row, child: Child) -> None:
        """The share that the fastest round reached of what the machine reads at best, and those of
        all rounds whose probes agree."""
        rounds = self._rounds.get(child)
        if not rounds:
            return
        sound = [one for one in rounds if one.agree]
        probes = [probe / 1e9 for one in sound or rounds for probe in (one.before, one.after)]
        read = f"{min(probes):.1f} to {max(probes):.1f} GB/s"
        if not sound:
            row.note(f"no share of read bandwidth: it changed during every round, {read}")
            return
        most = max(one.bandwidth for one in sound)
        fast = [one for one in sound if one.bandwidth >= (1 - AGREE) * most]
        row.roofline = max(one.reached for one in fast) / most
        shares = [one.share for one in sound]
        row.note(
            f"{min(shares):.0%} to {max(shares):.0%} of {read} in the {len(sound)} of {len(rounds)}"
            " rounds during which that stayed the same"
        )
