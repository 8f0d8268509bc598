"""The chain, its questions, and what is measured while it answers."""

from __future__ import annotations

import resource
import sys
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.prompts import ChatPromptTemplate

from vllm_swift_integrations.langchain import ChatVLLMSwift

QUESTIONS = ("What is a tide pool?", "Where do hermit crabs live?")


class Timings(BaseCallbackHandler):
    """Collects the timings that come with each answer."""

    def __init__(self) -> None:
        self.answers: list[dict[str, float]] = []

    def on_llm_end(self, response: LLMResult, **_: Any) -> None:
        generation = response.generations[0][0]
        if isinstance(generation, ChatGeneration):
            self.answers.append(generation.message.response_metadata["timings"])

    def summary(self) -> str:
        first = ", ".join(f"{answer['time_to_first_token_s']:.2f} s" for answer in self.answers)
        speed = sum(answer["tokens_per_second"] for answer in self.answers) / len(self.answers)
        return (
            f"Time to first token {first}; {speed:.0f} tokens/s; "
            f"{_peak_resident_bytes() / 1e6:.0f} MB resident at most."
        )


def answer_questions(model: str) -> None:
    """Streams the answers to `QUESTIONS` to standard output, then a line of measurements."""
    print(f"Loading {Path(model).name} ... ", end="", flush=True)
    started = time.perf_counter()
    with ChatVLLMSwift(model=model, temperature=0, max_tokens=128) as chat:
        print(f"{time.perf_counter() - started:.1f} s", flush=True)
        prompt = ChatPromptTemplate.from_template("{text}\n\nAnswer in one sentence. {question}")
        chain = prompt | chat | StrOutputParser()
        text = files(__package__).joinpath("tide_pools.md").read_text(encoding="utf-8")
        timings = Timings()
        for question in QUESTIONS:
            print(f"\n> {question}", flush=True)
            asked = {"text": text, "question": question}
            for piece in chain.stream(asked, config={"callbacks": [timings]}):
                print(piece, end="", flush=True)
            print()
        print(f"\n{timings.summary()}")


def _peak_resident_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
