"""Stop strings in a text that arrives in pieces."""

from __future__ import annotations

from collections.abc import Sequence


def possible_start(text: str, strings: Sequence[str]) -> int:
    """Length of the longest end of ``text`` that one of these strings begins with, and goes on."""
    longest = 0
    for string in strings:
        # Most texts end in no string's first character: one search in C for each string.
        start = text.find(string[0], max(0, len(text) - len(string) + 1))
        while start >= 0 and len(text) - start > longest:
            if string.startswith(text[start:]):
                longest = len(text) - start
                break
            start = text.find(string[0], start + 1)
    return longest


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
        keep = possible_start(text, self._stops)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """What was held back, once no more text can come."""
        held, self._held = self._held, ""
        return held
