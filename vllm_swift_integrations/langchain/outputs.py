"""Engine outputs to LangChain's: generations of completions, and metadata."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.outputs import Generation, GenerationChunk, LLMResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vllm_swift_engine.outputs import (
        CompletionOutput,
        Logprob,
        RequestOutput,
        StreamChunk,
        Timings,
        Usage,
    )

PROVIDER = "vllm-swift"


def llm_result(outputs: Sequence[RequestOutput], model: str, top: int | None = None) -> LLMResult:
    """The generations of a batch of prompts, and the tokens they took together.

    `top`, here and below: how many most likely tokens the request asked for; None is no logprobs.
    """
    totals = ("prompt_tokens", "completion_tokens", "total_tokens")
    return LLMResult(
        generations=[
            [
                Generation(
                    text=sequence.text,
                    generation_info=_generation_info(sequence, output) | logprobs(sequence, top),
                )
                for sequence in output.outputs
            ]
            for output in outputs
        ],
        llm_output={
            "model_name": model,
            "token_usage": {
                name: sum(getattr(output.usage, name) for output in outputs) for name in totals
            },
        },
    )


def text_chunk(chunk: StreamChunk, top: int | None = None) -> GenerationChunk:
    """A streamed piece of a completion. The last one carries finish reason, usage and timings."""
    info = _generation_info(chunk, chunk) if chunk.finish_reason is not None else {}
    return GenerationChunk(text=chunk.text, generation_info=info | logprobs(chunk, top) or None)


def logprobs(sequence: CompletionOutput | StreamChunk, top: int | None) -> dict[str, Any]:
    """`{"logprobs": ...}` in the form that langchain-openai gives; empty if there are none."""
    if top is None or sequence.logprobs is None:
        return {}
    content = []
    for token, candidates in zip(sequence.token_ids, sequence.logprobs, strict=True):
        by_rank = sorted(candidates.values(), key=lambda candidate: candidate.rank)
        likely = [_logprob(candidate) for candidate in by_rank[:top]]
        content.append({**_logprob(candidates[token]), "top_logprobs": likely})
    return {"logprobs": {"content": content}}


def _logprob(candidate: Logprob) -> dict[str, Any]:
    token = candidate.decoded_token
    return {"token": token, "bytes": list(token.encode()), "logprob": candidate.logprob}


def usage_metadata(usage: Usage | None, reasoning: int = 0) -> UsageMetadata | None:
    """Token counts under LangChain's names; `cache_read` are prompt tokens not computed again."""
    if usage is None:
        return None
    return UsageMetadata(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        input_token_details=InputTokenDetails(cache_read=usage.cached_tokens),
        output_token_details=OutputTokenDetails(reasoning=reasoning),
    )


def response_metadata(
    sequence: CompletionOutput | StreamChunk,
    timings: Timings | None,
    model: str,
    called: bool = False,
) -> dict[str, Any]:
    """What produced a message, why it ended, and how long it took (seconds).

    An answer that `called` tools and stopped by itself has OpenAI's finish reason for that.
    """
    ending = _ending(sequence, timings)
    if called and ending["finish_reason"] == "stop":
        ending["finish_reason"] = "tool_calls"
    return {"model_name": model, "model_provider": PROVIDER, **ending}


def _generation_info(
    sequence: CompletionOutput | StreamChunk, request: RequestOutput | StreamChunk
) -> dict[str, Any]:
    usage = None if request.usage is None else asdict(request.usage)
    return {**_ending(sequence, request.timings), "usage": usage}


def _ending(sequence: CompletionOutput | StreamChunk, timings: Timings | None) -> dict[str, Any]:
    return {
        "finish_reason": sequence.finish_reason,
        "stop_reason": sequence.stop_reason,
        "timings": None if timings is None else asdict(timings),
    }
