"""Engines with little KV cache."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from vllm_swift_engine import Engine
from vllm_swift_engine.errors import MemoryBudgetError

Device = Literal["cpu", "gpu"]


def budget(model: Path, blocks: int, device: Device = "cpu", **options: Any) -> int:
    """The ``memory_budget`` that leaves an engine of these options so many blocks of KV cache."""
    least = 1
    while True:
        try:
            engine = Engine(model, device=device, memory_budget=least, share=False, **options)
        except MemoryBudgetError as error:
            # It says what it takes.
            least = max(map(int, re.findall(r"\d+", str(error))))
            continue
        with engine:
            assert engine.info.kv_blocks == 1
            return least + engine.info.kv_bytes * (blocks - 1)
