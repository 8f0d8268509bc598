"""One engine's requests on one loaded model, and its orderly end."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from ._ffi.channel import Channel
from ._ffi.convert import Prompt
from ._ffi.runtime import RequestInfo
from .errors import EngineClosedError, RequestCancelledError
from .models.shared import Lease


class Session:
    """What an engine owns. It knows nothing of the engine, so the engine can be collected.

    ``release`` takes no lock: the collector may drop a stream in any thread, whatever it holds.
    """

    def __init__(self, lease: Lease) -> None:
        self.model = lease.model
        self.runtime = lease.model.native.runtime
        self._lease = lease
        self._lock = threading.RLock()
        self._channels: dict[int, Channel] = {}
        self._closed = False

    def require_open(self) -> None:
        """Raises ForkedProcessError in a forked child, EngineClosedError once closed."""
        self.runtime.require_usable()
        if self._closed:
            raise EngineClosedError("The engine is closed. Open a new Engine.")

    def submit(self, prompts: Sequence[Prompt], channel: Channel, names: list[int]) -> None:
        """Queues all or none; ``names`` receives the requests' names."""
        self.require_open()
        with self._lock:
            self.require_open()
            self.runtime.submit(self.model.native.handle, prompts, channel, names)
            self._channels.update(dict.fromkeys(names, channel))

    def finish(self, request: int) -> RequestInfo:
        """Counts and times of a request that has ended, which is then forgotten.

        Raises:
            EngineClosedError: the engine was closed in between.
            RequestCancelledError: the request was released in between.
            VLLMSwiftError: the request failed; its own error.
        """
        with self._lock:
            self.require_open()
            if request not in self._channels:
                raise RequestCancelledError("The request was cancelled.")
            info, failure = self.runtime.request_info(request)
            self.release((request,))
        if failure is not None:
            raise failure
        return info

    def release(self, requests: Iterable[int]) -> None:
        """Forgets requests, cancelling those that run. Harmless when done twice."""
        if self.runtime.forked:
            return
        for request in requests:
            self._channels.pop(request, None)
            self.runtime.release(request)

    def close(self) -> None:
        """Ends this engine's requests with EngineClosedError and gives the model back."""
        if self.runtime.forked:
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
            channels, self._channels = self._channels, {}
        for request, channel in [*channels.items()]:
            self.runtime.release(request)
            channel.put(EngineClosedError("The engine was closed while the request ran."))
        self._lease.release()
