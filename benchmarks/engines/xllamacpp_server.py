"""What every use of llama.cpp's server from the `xllamacpp` wheel has in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xllamacpp

from benchmarks.engines import THREADS


def parameters(model: Path, context: int, rows: int) -> xllamacpp.CommonParams:
    """Those of a server with `rows` slots of `context` tokens each."""
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_ctx = context * rows
    params.n_parallel = rows
    params.cpuparams.n_threads = THREADS
    params.cpuparams_batch.n_threads = THREADS
    params.verbosity = -1
    return params


def checked(answer: dict[str, Any], part: str) -> dict[str, Any]:
    """The answer, which has to have this part: an error is an answer without."""
    if part not in answer:
        raise RuntimeError(f"llama.cpp answered {answer}")
    return answer
