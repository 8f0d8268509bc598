"""`python -m tests.race`: the whole engine, Swift and C++, under ThreadSanitizer.

Builds swift/Tests/EngineLoad with it and lets that treat an engine roughly from several threads, as
`tests.soak` does from Python, on a tiny model with random weights. Linux only. libmlx and Swift's
runtime are not instrumented; nothing is suppressed.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf

from scripts import native
from tests import tiny_llama


def build() -> Path:
    """The load, instrumented; in a build folder of its own, since all flags differ."""
    swift = native.check()
    native.link_mlx()
    options = ("--configuration", "release", "--scratch-path", ".build-race")
    native.run_swift(swift, "build", "--product", "EngineLoad", "--sanitize=thread", *options)
    return native.SWIFT_PACKAGE / ".build-race/release/EngineLoad"


def run(program: Path, seconds: float, seed: int) -> int:
    """The program's status, which is not 0 after a race or a wrong token."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "tiny.gguf")
        tiny_llama.write_gguf(model, tiny_llama.random_weights(), gguf.GGMLQuantizationType.Q4_0)
        environment = {**os.environ, "TSAN_OPTIONS": "second_deadlock_stack=1"}
        command = [str(program), str(model), str(seconds), str(seed)]
        return subprocess.run(command, env=environment, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.race")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None, help="to do again what failed")
    options = parser.parse_args()
    seed = random.randrange(2**31) if options.seed is None else options.seed
    try:
        program = build()
    except native.BuildError as error:
        sys.exit(f"error: {error}")
    print(f"{options.seconds:g} seconds with --seed {seed}", flush=True)
    return run(program, options.seconds, seed)


if __name__ == "__main__":
    sys.exit(main())
