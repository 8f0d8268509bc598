"""The engines that are compared, behind one interface. Each is used as its own users use it."""

from __future__ import annotations

import importlib
import importlib.util
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

THREADS = 2


class Unavailable(Exception):
    """The engine cannot run a case; the message says why and becomes a note under the table."""


class Opened(ABC):
    """An engine in a process of its own. Prompts are token ids; greedy.

    `seed` changes the first token of a prompt, so that no engine can reuse an earlier prompt's
    work.
    """

    @abstractmethod
    def load(self, model: Path, context: int, rows: int) -> None:
        """Opens the model with room for `rows` sequences of `context` tokens each."""


class EngineUnderTest(Opened):
    """What `cpu` measures. No prompt cache."""

    #: Its name in the tables.
    name: ClassVar[str]
    #: The package that is imported, whose time to import is measured.
    package: ClassVar[str]

    @abstractmethod
    def first_token(self, text: str) -> None:
        """Returns as soon as the first token that follows `text` is there."""

    @abstractmethod
    def prefill(self, tokens: int, seed: int) -> float:
        """Seconds from a prompt of `tokens` tokens to the first token of the answer."""

    @abstractmethod
    def decode(self, context: int, tokens: int, seed: int) -> float:
        """Tokens per second of `tokens` decode steps that follow `context` tokens."""

    @abstractmethod
    def decode_rows(self, rows: int, context: int, tokens: int, seed: int) -> float:
        """Tokens per second, all told, of `rows` requests that decode `tokens` tokens each."""


@dataclass(frozen=True)
class EngineKind:
    module: str
    package: str
    #: Its column in the tables; this project's engine has one of its own.
    peer: str | None = None

    @property
    def installed(self) -> bool:
        return self.peer is None or importlib.util.find_spec(self.package) is not None

    def make(self) -> Opened:
        """Imports the engine's package. Call it in a process that runs nothing else."""
        module = importlib.import_module(f"benchmarks.engines.{self.module}")
        engine = module.Engine()
        assert isinstance(engine, Opened)
        return engine


#: What `cpu` compares.
ENGINES = {
    "ours": EngineKind("ours", "vllm_swift_engine"),
    "xllamacpp": EngineKind("xllamacpp", "xllamacpp", "llama.cpp"),
    "llama-cpp-python": EngineKind("llama_cpp_python", "llama_cpp", "llama.cpp"),
    "mlx-lm": EngineKind("mlx_lm", "mlx_lm", "mlx-lm"),
}
#: What `serve` compares.
SERVERS = {
    "ours, serving": EngineKind("ours_serving", "vllm_swift_engine"),
    "xllamacpp, serving": EngineKind("xllamacpp_serving", "xllamacpp", "llama.cpp"),
}
#: What `structured` compares.
STRUCTURED = {
    "ours, structured": EngineKind("ours_structured", "vllm_swift_engine"),
    "xllamacpp, structured": EngineKind("xllamacpp_structured", "xllamacpp", "llama.cpp"),
}
KINDS = ENGINES | SERVERS | STRUCTURED


def prompt_ids(tokens: int, seed: int) -> list[int]:
    """A prompt of exactly `tokens` ids. It repeats itself, so that greedy answers go on and on."""
    ids = [2000 + 17 * (i % 6) for i in range(tokens)]
    ids[0] = 3000 + seed % 20000
    return ids
