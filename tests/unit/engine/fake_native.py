"""The functions of vllm_swift.h in Python, for tests that need to say what the engine does next.

A model is a folder with config.json; a request answers with what ``script`` makes of its prompt,
one event a step. Nothing moves while ``hold`` is set.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vllm_swift_engine._ffi._declarations import ffi

OK, NOT_FOUND, CLOSED, INVALID_HANDLE = 0, 30, 90, 11
STOP, LENGTH, CANCELLED, ERROR = 1, 2, 3, 4

#: What a request emits: lists of tokens, one event each; an int at the end is the finish reason.
Script = Callable[[list[int]], Sequence[list[int] | int]]


def echo(prompt: list[int]) -> Sequence[list[int] | int]:
    return [*([token] for token in prompt), STOP]


class FakeLibrary:
    def __init__(self, script: Script = echo) -> None:
        self.script = script
        self.hold = False
        self.loads = 0
        self.models: set[int] = set()
        self.released: list[int] = []
        self.sampling: list[dict[str, Any]] = []
        self.failure = (70, "the device is on fire")
        self._ready = threading.Condition()
        self._destroyed = False
        self._names = itertools.count(1)
        self._files: dict[int, tuple[Path, dict[str, Any]]] = {}
        self._running: dict[int, deque[list[int] | int]] = {}
        self._failed: set[int] = set()
        self._counts: dict[int, list[int]] = {}

    def wait_for_running(self, count: int) -> None:
        with self._ready:
            assert self._ready.wait_for(lambda: len(self._running) >= count, timeout=30)

    def resume(self) -> None:
        with self._ready:
            self.hold = False
            self._ready.notify_all()

    @staticmethod
    def _fail(error: Any, code: int, message: str) -> int:
        error.code = code
        error.message = message.encode()
        return code

    # ---- files and models

    def vsw_model_file_open(self, path: bytes, file: Any, error: Any) -> int:
        config = Path(path.decode()) / "config.json"
        if not config.is_file():
            return self._fail(error, NOT_FOUND, f"no {config}")
        name = next(self._names)
        self._files[name] = (config, {})
        file[0] = ffi.cast("vsw_model_file *", name)
        return OK

    def vsw_model_file_json(self, file: Any, section: bytes, out: Any, size: Any, _: Any) -> int:
        config, texts = self._files[int(ffi.cast("uintptr_t", file))]
        text = config.read_bytes() if section == b"config" else b"null"
        texts[section] = ffi.new("char[]", text)
        out[0], size[0] = texts[section], len(text)
        return OK

    def vsw_model_file_close(self, file: Any) -> None:
        self._files.pop(int(ffi.cast("uintptr_t", file)), None)

    def vsw_model_load(self, _: Any, file: Any, params: Any, model: Any, error: Any) -> int:
        config = json.loads(self._files[int(ffi.cast("uintptr_t", file))][0].read_bytes())
        if "fail" in config:
            return self._fail(error, *config["fail"])
        self.loads += 1
        name = next(self._names)
        self.models.add(name)
        self._vocab, self._limit = config["vocab_size"], config["max_position_embeddings"]
        model[0] = ffi.cast("vsw_model *", name)
        return OK

    def vsw_model_get_info(self, _: Any, info: Any, __: Any) -> int:
        info.vocab_size, info.max_model_len = self._vocab, self._limit
        info.kv_block_tokens, info.kv_blocks = 32, self._limit
        info.device, info.kernels = 1, 3
        return OK

    def vsw_model_destroy(self, model: Any) -> None:
        self.models.discard(int(ffi.cast("uintptr_t", model)))

    # ---- the runtime

    def vsw_runtime_create(self, _: Any, runtime: Any, __: Any) -> int:
        runtime[0] = ffi.cast("vsw_runtime *", next(self._names))
        return OK

    def vsw_runtime_destroy(self, _: Any) -> None:
        with self._ready:
            self._destroyed = True
            self._ready.notify_all()

    def vsw_runtime_get_stats(self, _: Any, stats: Any, __: Any) -> int:
        stats.models, stats.running = len(self.models), len(self._running)
        return OK

    def vsw_sampling_params_default(self, params: Any) -> None:
        params.n, params.repetition_penalty = 1, 1.0
        params.logprobs = params.prompt_logprobs = -1

    def vsw_submit(self, model: Any, params: Any, count: int, requests: Any, error: Any) -> int:
        if int(ffi.cast("uintptr_t", model)) not in self.models:
            return self._fail(error, INVALID_HANDLE, "no such model")
        with self._ready:
            for index in range(count):
                name = next(self._names)
                prompt = ffi.unpack(params[index].tokens, params[index].token_count)
                sampling = params[index].sampling
                stops, ends = sampling.stop_token_ids, sampling.eos_token_ids
                self.sampling.append(
                    {
                        "max_tokens": sampling.max_tokens,
                        "temperature": sampling.temperature,
                        "has_seed": sampling.has_seed,
                        "seed": sampling.seed,
                        "stop": ffi.unpack(stops, sampling.stop_token_count) if stops else [],
                        "eos": ffi.unpack(ends, sampling.eos_token_count) if ends else [],
                    }
                )
                self._running[name] = deque(self.script(prompt))
                self._counts[name] = [len(prompt), 0]
                requests[index] = name
            self._ready.notify_all()
        return OK

    def vsw_poll(self, _: Any, buffers: Any, timeout: int, error: Any) -> int:
        assert timeout < 0
        with self._ready:
            self._ready.wait_for(lambda: self._destroyed or (self._running and not self.hold))
            if self._destroyed:
                return self._fail(error, CLOSED, "the runtime is destroyed")
            used = 0
            for slot, name in enumerate([*self._running]):
                used += self._step(name, buffers.events[slot], buffers.tokens, used)
                buffers.event_count = slot + 1
            buffers.token_count = used
        return OK

    def _step(self, name: int, event: Any, tokens: Any, used: int) -> int:
        steps = self._running[name]
        event.request, event.sequence = name, 0
        event.token_offset, event.token_count, event.finish_reason = used, 0, 0
        event.stop_token = -1
        if isinstance(steps[0], list):
            new = steps.popleft()
            assert isinstance(new, list)
            for index, token in enumerate(new):
                tokens[used + index] = token
            event.token_count = len(new)
            self._counts[name][1] += len(new)
        if steps and isinstance(steps[0], int):
            event.finish_reason = steps[0]
            if steps[0] == ERROR:
                self._failed.add(name)
            del self._running[name]
        return int(event.token_count)

    def vsw_request_get_info(self, _: Any, request: int, info: Any, __: Any) -> int:
        info.prompt_tokens, info.output_tokens = self._counts[request]
        info.queue_us, info.prefill_us, info.decode_us = 1_000, 2_000, 1_000_000
        if request in self._failed:
            info.error.code, info.error.message = self.failure[0], self.failure[1].encode()
        return OK

    def vsw_release(self, _: Any, request: int) -> None:
        with self._ready:
            self._running.pop(request, None)
            self.released.append(request)
