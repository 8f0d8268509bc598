"""Opens damaged copies of a model.

python -m tests.integration.damage MODEL FILE HEADER_BYTES   cuts FILE, changes its first bytes
python -m tests.integration.damage FOLDER                    changes values of its config.json

Each copy must give an error of ours or a model that answers; an engine that is open all the while
must go on answering. Prints how many copies were refused, by the class of the error. Whatever else
happens ends the process with a status that is not 0.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vllm_swift_engine import Engine, SamplingParams, VLLMSwiftError

CUTS, FLIPS = 20, 200
VALUES: list[Any] = [0, -1, 3, 2**31 - 1, 2**31, 2**63 - 1, 2**63, 1e-320, 1e308, -1e308]
VALUES += [float("nan"), float("inf"), None, True, "x", [1], {}]
PROMPT = [5, 70, 257, 9]
GREEDY = SamplingParams(temperature=0, max_tokens=4)


def damaged(content: bytes, header_bytes: int) -> Iterator[tuple[str, bytes]]:
    """The content cut at CUTS places, header and weights alike, and with FLIPS bytes changed."""
    for cut in range(CUTS):
        place = len(content) * cut // CUTS if cut % 2 else header_bytes * cut // CUTS
        yield f"cut at {place}", content[:place]
    generator = random.Random(2026)
    for _ in range(FLIPS):
        place = generator.randrange(header_bytes)
        value = content[place] ^ generator.randrange(1, 256)
        yield f"byte {place} = {value}", content[:place] + bytes([value]) + content[place + 1 :]


def misconfigured(content: bytes) -> Iterator[tuple[str, bytes]]:
    """The config with each of its numbers replaced by each of VALUES."""
    config = json.loads(content)
    for key, value in config.items():
        if isinstance(value, (int, float)):
            for other in VALUES:
                yield f"{key} = {other}", json.dumps({**config, key: other}).encode()


def answer(engine: Engine) -> tuple[int, ...]:
    return tuple(engine.generate(PROMPT, GREEDY).outputs[0].token_ids)


def main(model: Path, file: Path, copies: Iterator[tuple[str, bytes]]) -> None:
    seen: Counter[str] = Counter()
    copy = model.with_name("copy" + model.suffix)
    with Engine(model, device="cpu", share=False) as healthy:
        expected = answer(healthy)
        for what, content in copies:
            print(what, file=sys.stderr, flush=True)
            if model.is_dir():
                shutil.copytree(model, copy, dirs_exist_ok=True)
                (copy / file.name).write_bytes(content)
            else:
                copy.write_bytes(content)
            try:
                # A bound, so that a context of 2^31 tokens is refused and not reserved.
                with Engine(copy, device="cpu", share=False, memory_budget=1 << 28) as engine:
                    answer(engine)
                seen["opened"] += 1
            except VLLMSwiftError as error:
                seen[type(error).__name__] += 1
        assert answer(healthy) == expected
    print(json.dumps(seen))


if __name__ == "__main__":
    model = Path(sys.argv[1])
    if len(sys.argv) > 2:
        file = Path(sys.argv[2])
        main(model, file, damaged(file.read_bytes(), int(sys.argv[3])))
    else:
        file = model / "config.json"
        main(model, file, misconfigured(file.read_bytes()))
