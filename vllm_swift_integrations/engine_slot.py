"""The place where an integration class keeps its engines."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vllm_swift_engine import Engine


class EngineSlot:
    """Holds engines that are opened at first use, one for each set of options.

    Copies and pickles of a slot are empty: an engine is bound to its process, and opening it
    again is cheap because engines of one model share their weights.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engines: dict[Hashable, Engine] = {}

    def get(self, options: Hashable, open_engine: Callable[[], Engine]) -> Engine:
        """The engine of these options, opened with `open_engine` if there is none.

        Safe to call in threads.
        """
        engine = self._engines.get(options)
        if engine is not None:
            return engine
        with self._lock:
            if options not in self._engines:
                self._engines[options] = open_engine()
            return self._engines[options]

    async def aget(self, options: Hashable, open_engine: Callable[[], Engine]) -> Engine:
        """As `get`, but an engine that must still be opened leaves the event loop running."""
        engine = self._engines.get(options)
        if engine is not None:
            return engine
        return await asyncio.to_thread(self.get, options, open_engine)

    def close(self) -> None:
        """Closes the engines there are; the next `get` opens another. Idempotent."""
        with self._lock:
            engines, self._engines = self._engines, {}
        for engine in engines.values():
            engine.close()

    def __reduce__(self) -> tuple[type[EngineSlot], tuple[()]]:
        return EngineSlot, ()
