"""The process's one native runtime, and the pump thread that hands out its events.

The pump waits in ``vsw_poll`` with the GIL released. It is the only thread that polls; consumers
wait on channels.

The garbage collector may drop a stream or an engine in the middle of any of these methods, and so
release native objects while this thread, or another, holds the lock. Therefore the lock is
reentrant, and ``release`` takes none.
"""

from __future__ import annotations

import atexit
import os
import struct
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from vllm_swift_engine.errors import (
    EngineClosedError,
    ForkedProcessError,
    VLLMSwiftError,
    from_code,
)
from vllm_swift_engine.outputs import EngineStats, Histogram

from .channel import Channel, Event, put_all
from .convert import Prompt, check, error_from, sized, submit_params
from .library import Library, load

_EVENTS_PER_POLL = 1024
_TOKENS_PER_POLL = 8192
_LOGPROBS_PER_POLL = 8192
_SHUT_DOWN = (EngineClosedError.code or 0, "The engine was shut down.")
_FORKED = (
    "The engine belongs to the parent process and cannot be used after fork. Start workers with "
    'the "spawn" method, or open the Engine in the child only.'
)


class RequestInfo(NamedTuple):
    """``vsw_request_info``; times in seconds."""

    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    queue_s: float
    prefill_s: float
    decode_s: float


class Runtime:
    """``vsw_runtime`` and the channels of the requests that run in it."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.forked = False
        self._ffi, self._lib = library
        self._lock = threading.RLock()
        self._channels: dict[int, Channel] = {}
        self._ended: tuple[int, str] | None = None
        handle = self._ffi.new("vsw_runtime **")
        error = self._ffi.new("vsw_error *")
        params = sized(library, "vsw_runtime_params")
        check(library, self._lib.vsw_runtime_create(params, handle, error), error)
        self.handle = handle[0]
        self._pump_thread = threading.Thread(target=self._pump, name="vllm-swift", daemon=True)
        self._pump_thread.start()

    def require_usable(self) -> None:
        """Raises ForkedProcessError in a forked child, EngineClosedError after the end."""
        if self.forked:
            raise ForkedProcessError(_FORKED)
        if self._ended is not None:
            raise from_code(*self._ended)

    def submit(
        self, model: Any, prompts: Sequence[Prompt], channel: Channel, names: list[int]
    ) -> None:
        """Queues all or none; their events go to ``channel``.

        ``names`` receives the requests' names. They are not returned because an interrupt may come
        between any two lines, and a request would be left that nobody can name.
        """
        self.require_usable()
        params, kept = submit_params(self.library, prompts)
        requests = self._ffi.new("vsw_request[]", len(prompts))
        error = self._ffi.new("vsw_error *")
        # Held over both steps, so that the pump meets no event of a request it does not know.
        with self._lock:
            self.require_usable()
            try:
                status = self._lib.vsw_submit(model, params, len(prompts), requests, error)
                check(self.library, status, error)
                names += self._ffi.unpack(requests, len(prompts))
                self._channels.update(dict.fromkeys(names, channel))
            except BaseException:
                for name in filter(None, self._ffi.unpack(requests, len(prompts))):
                    self._lib.vsw_release(self.handle, name)
                    self._channels.pop(name, None)
                raise
        del kept

    def request_info(self, request: int) -> tuple[RequestInfo, VLLMSwiftError | None]:
        """Counts and times of a request that was not released yet, and what made it fail."""
        info = sized(self.library, "vsw_request_info")
        error = self._ffi.new("vsw_error *")
        status = self._lib.vsw_request_get_info(self.handle, request, info, error)
        check(self.library, status, error)
        failure = error_from(self.library, info.error.code, info.error) if info.error.code else None
        counts = RequestInfo(
            info.prompt_tokens,
            info.cached_tokens,
            info.output_tokens,
            info.queue_us / 1e6,
            info.prefill_us / 1e6,
            info.decode_us / 1e6,
        )
        return counts, failure

    def cancel_sequence(self, request: int, sequence: int) -> None:
        """Ends one output of a request; its last event follows."""
        if self._ended is None:
            self._lib.vsw_cancel_sequence(self.handle, request, sequence)

    def release(self, request: int) -> None:
        """Forgets a request, cancelling it if it still runs. Harmless when done twice."""
        if self.forked:
            return
        known = self._channels.pop(request, None) is not None
        if known and self._ended is None:
            self._lib.vsw_release(self.handle, request)

    def stats(self) -> EngineStats:
        """Counters over all models."""
        self.require_usable()
        stats = sized(self.library, "vsw_stats")
        error = self._ffi.new("vsw_error *")
        check(self.library, self._lib.vsw_runtime_get_stats(self.handle, stats, error), error)
        bounds = tuple(bound / 1e6 for bound in stats.latency_bounds_us)

        def value(name: str) -> Any:
            field = getattr(stats, name)
            if isinstance(field, int):
                return field
            return Histogram(bounds, tuple(field.at_most), field.count, field.sum_us / 1e6)

        names = EngineStats.__dataclass_fields__.keys() - {"read_at"}
        return EngineStats(read_at=time.monotonic(), **{name: value(name) for name in names})

    def destroy(self) -> None:
        """Cancels every request, unloads every model and joins both threads."""
        if self.forked:
            return
        with self._lock:
            if self._ended is None:
                self._ended = _SHUT_DOWN
        # Ends the pump's poll with VSW_ERROR_CLOSED.
        self._lib.vsw_runtime_destroy(self.handle)
        if threading.current_thread() is not self._pump_thread:
            self._pump_thread.join()

    def _pump(self) -> None:
        ffi = self._ffi
        buffers = sized(self.library, "vsw_poll_buffers")
        events = ffi.new("vsw_event[]", _EVENTS_PER_POLL)
        tokens = ffi.new("int32_t[]", _TOKENS_PER_POLL)
        buffers.event_capacity, buffers.events = _EVENTS_PER_POLL, events
        buffers.token_capacity, buffers.tokens = _TOKENS_PER_POLL, tokens
        logprobs = ffi.new("vsw_logprob[]", _LOGPROBS_PER_POLL)
        buffers.logprob_capacity, buffers.logprobs = _LOGPROBS_PER_POLL, logprobs
        error = ffi.new("vsw_error *")
        poll, handle = self._lib.vsw_poll, self.handle
        status = 0
        while not status:
            status = poll(handle, buffers, -1, error)
            if buffers.event_count and not status:
                new = ffi.unpack(tokens, buffers.token_count)
                self._dispatch(events, buffers.event_count, new, logprobs)
        self._end(status, error)

    def _dispatch(self, events: Any, count: int, tokens: list[int], logprobs: Any) -> None:
        batches: dict[Channel, list[Event]] = {}
        with self._lock:
            for index in range(count):
                event = events[index]
                channel = self._channels.get(event.request)
                if channel is None:
                    continue
                first = event.token_offset
                batches.setdefault(channel, []).append(
                    Event(
                        event.request,
                        event.sequence,
                        tokens[first : first + event.token_count],
                        event.finish_reason,
                        event.stop_token,
                        event.prompt_token_count,
                        self._logprobs(logprobs, event) if event.logprob_count else (),
                    )
                )
            put_all(batches.items())

    def _logprobs(self, logprobs: Any, event: Any) -> list[tuple[int, float, int]]:
        size = self._ffi.sizeof("vsw_logprob") * event.logprob_count
        values = self._ffi.buffer(logprobs + event.logprob_offset, size)
        return list(struct.iter_unpack("=ifi", values))

    def _end(self, status: int, error: Any) -> None:
        """The poll failed, so no request will hear from the engine again."""
        with self._lock:
            if self._ended is None:
                failure = error_from(self.library, status, error)
                self._ended = (status, str(failure))
            # The collector may close a stream, and so release requests, in the middle of this.
            channels = [*self._channels.values()]
            put_all([(channel, from_code(*self._ended)) for channel in channels])
            self._channels.clear()


def _mark_forked() -> None:
    if _runtime is not None:
        _runtime.forked = True


_runtime_lock = threading.RLock()
_runtime: Runtime | None = None


def runtime() -> Runtime:
    """The process's runtime, started on first use and ended at interpreter exit."""
    global _runtime
    current = _runtime
    if current is None:
        with _runtime_lock:
            if _runtime is None:
                _runtime = Runtime(load())
                atexit.register(_runtime.destroy)
                os.register_at_fork(after_in_child=_mark_forked)
            current = _runtime
    current.require_usable()
    return current
