"""Stop strings in a text that arrives in pieces."""

from __future__ import annotations

from collections.abc import Sequence


class StopScanner:
    """Lets text through up to the first stop string, and never a part of one.

    The stop string that is complete first counts, of several that end together the longest. So the
    result depends on the text alone, not on how it was cut into pieces. Text is held back only
    while it may be the beginning of a stop string.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = sorted(set(stops), key=len, reverse=True)
        self._held = ""
        self.matched: str | None = None

    def push(self, text: str) -> str:
        """The text that is safe to show after ``text`` came in."""
        if not self._stops:
            return text
        if self.matched is not None:
            return ""
        text = self._held + text
        end = len(text) + 1
        for stop in self._stops:
            found = text.find(stop)
            # Longer ones come first, so a later one has to end strictly earlier.
            if found >= 0 and found + len(stop) < end:
                self.matched, end = stop, found + len(stop)
        if self.matched is not None:
            self._held = ""
            return text[: end - len(self.matched)]
        keep = self._possible_start(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """What was held back, once no more text can come."""
        held, self._held = self._held, ""
        return held

    def _possible_start(self, text: str) -> int:
        """Length of the longest end of ``text`` that a stop string begins with."""
        longest = 0
        for stop in self._stops:
            for length in range(min(len(stop) - 1, len(text)), longest, -1):
                if text.endswith(stop[:length]):
                    longest = length
                    break
        return longest
