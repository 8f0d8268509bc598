"""llama.cpp's hidden states, from the server of the xllamacpp wheel."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xllamacpp

Array = np.ndarray[Any, np.dtype[np.float32]]


class HiddenStates:
    """What llama.cpp's head is applied to: the output of its last norm."""

    def __init__(self, server: xllamacpp.Server) -> None:
        self._server = server

    def __call__(self, tokens: list[int]) -> Array:
        """[len(tokens), hidden]"""
        request = urllib.request.Request(
            f"{self._server.listening_address}/embedding",
            json.dumps({"content": tokens, "embd_normalize": -1}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as response:
            (result,) = json.load(response)
        hidden = np.array(result["embedding"], np.float32)
        assert len(hidden) == len(tokens)
        return hidden


@contextmanager
def hidden_states(model: Path, context: int) -> Iterator[HiddenStates]:
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_ctx = params.n_batch = params.n_ubatch = context
    params.n_parallel = 1
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_NONE
    params.warmup = False
    params.verbosity = -1
    yield HiddenStates(xllamacpp.Server(params))
