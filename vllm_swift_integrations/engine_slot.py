"""The place where an integration class keeps its engine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vllm_swift_engine import Engine


class EngineSlot:
    """Holds an engine that is opened at first use.

    Copies and pickles of a slot are empty: an engine is bound to its process, and opening it
    again is cheap because engines of one model share their weights.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engine: Engine | None = None

    def get(self, open_engine: Callable[[], Engine]) -> Engine:
        """The engine, opened with `open_engine` if it is not open yet. Safe to call in threads."""
        with self._lock:
            if self._engine is None:
                self._engine = open_engine()
            return self._engine

    async def aget(self, open_engine: Callable[[], Engine]) -> Engine:
        """As `get`, but an engine that must still be opened leaves the event loop running."""
        if self._engine is not None:
            return self._engine
        return await asyncio.to_thread(self.get, open_engine)

    def close(self) -> None:
        """Closes the engine if there is one; the next `get` opens another. Idempotent."""
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def __reduce__(self) -> tuple[type[EngineSlot], tuple[()]]:
        return EngineSlot, ()
