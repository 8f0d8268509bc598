"""What the engine returns. Names follow vLLM's outputs."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

FinishReason = Literal["stop", "length", "cancelled"]


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of a request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    #: Prompt tokens that came from the prefix cache and were not computed again.
    cached_tokens: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Timings:
    """Where a request's time went, in seconds, as the engine's own thread measured it."""

    #: From submission to the first prefill step.
    queue_s: float
    #: From there to the first token.
    prefill_s: float
    #: From there to the last token.
    decode_s: float
    #: From submission to the first token.
    time_to_first_token_s: float
    #: Tokens after the first, over ``decode_s``; 0 when there was only one.
    tokens_per_second: float


@dataclasses.dataclass(frozen=True, slots=True)
class Logprob:
    """How likely a token was, by the model's logits before any sampling parameter."""

    #: Natural logarithm of its probability.
    logprob: float
    #: 1 is the most likely token.
    rank: int
    #: The text of this token alone; U+FFFD where it is a part of a character.
    decoded_token: str


#: Of one position: its own token first, then the most likely ones.
TokenLogprobs = dict[int, Logprob]


@dataclasses.dataclass(frozen=True, slots=True)
class CompletionOutput:
    """One generated sequence."""

    index: int
    text: str
    #: Without the stop token; with a stop string, up to the token that completed it.
    token_ids: list[int]
    finish_reason: FinishReason
    #: The stop string, or the token of ``stop_token_ids``, that ended the text; None when the
    #: model's own end token did, and for other reasons.
    stop_reason: int | str | None = None
    #: One for each of ``token_ids``; None where the request did not ask.
    logprobs: list[TokenLogprobs] | None = None
    #: The sum over ``token_ids``.
    cumulative_logprob: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class RequestOutput:
    """A finished request."""

    request_id: int
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]
    usage: Usage
    timings: Timings
    #: One for each of ``prompt_token_ids``, None for the first; None where nobody asked.
    prompt_logprobs: list[TokenLogprobs | None] | None = None

    @property
    def text(self) -> str:
        """The first output's text."""
        return self.outputs[0].text


# Not frozen, since one is made for each token: a frozen one takes three times as long to make.
@dataclasses.dataclass(slots=True)
class StreamChunk:
    """New text of one sequence. Its last chunk has the finish reason.

    The last chunk of all has usage and timings. The texts of a sequence's chunks, joined, are the
    output's text, and so are their token ids and logprobs. A token is reported with the chunk in
    which its text becomes visible.
    """

    index: int
    text: str
    token_ids: list[int]
    finish_reason: FinishReason | None = None
    stop_reason: int | str | None = None
    usage: Usage | None = None
    timings: Timings | None = None
    #: One for each of ``token_ids``; None where the request did not ask.
    logprobs: list[TokenLogprobs] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ModelInfo:
    """A loaded model."""

    #: What the caller named: a folder, a file or a Hub repository.
    model: str
    #: ``model_type`` of the model's config.
    architecture: str
    vocab_size: int
    #: Tokens, prompt and output together.
    max_model_len: int
    hidden_size: int
    device: Literal["cpu", "gpu"]
    #: The instruction set of the kernels that run, or "reference".
    kernels: str
    #: Why they are "reference" although nobody asked for that, or empty.
    kernels_note: str
    weight_bytes: int
    #: The KV cache when full.
    kv_bytes: int
    kv_block_tokens: int
    kv_blocks: int


@dataclasses.dataclass(frozen=True, slots=True)
class Histogram:
    """How long things took, in Prometheus's form: buckets that count all up to their bounds."""

    #: Seconds, ascending.
    bounds: tuple[float, ...]
    #: How many took at most so long; one for each bound.
    at_most: tuple[int, ...]
    #: Of all, those above the last bound too.
    count: int
    #: Seconds of all together.
    sum: float

    @property
    def mean(self) -> float:
        """Seconds; 0 where nothing was counted."""
        return self.sum / self.count if self.count else 0.0

    def quantile(self, share: float) -> float:
        """The least bound that ``share`` (0 to 1) of all keep to; infinity above the last one."""
        wanted = share * self.count
        reached = zip(self.bounds, self.at_most, strict=True)
        return next((bound for bound, count in reached if count >= wanted), math.inf)


@dataclasses.dataclass(frozen=True, slots=True)
class EngineStats:
    """Counters of the process's runtime, over all its models."""

    #: When they were read, in seconds of ``time.monotonic``.
    read_at: float
    models: int
    #: Sequences; a request has ``n``.
    running: int
    waiting: int
    #: Computed since the start; what the prefix cache has is not, what was preempted is again.
    prompt_tokens: int
    output_tokens: int
    #: Forward passes.
    steps: int
    kv_blocks: int
    #: Held by running sequences and by prefixes.
    kv_blocks_used: int
    mlx_active_bytes: int
    #: Sequences that gave up their blocks for others, and were computed again.
    preemptions: int
    #: Prompt tokens looked up in the prefix cache, and those of them that were found.
    prefix_queries: int
    prefix_hits: int
    #: Blocks that no sequence holds, with a prefix that may be asked for again.
    kv_blocks_cached: int
    #: Of grammars, that were computed, and the microseconds of CPU time that took.
    masks: int
    mask_us: int
    #: From submission to the first prefill step.
    queue_time: Histogram
    #: From submission to the first token.
    time_to_first_token: Histogram
    #: Between two tokens of one sequence.
    inter_token_time: Histogram
    #: From submission to the end, of requests that had tokens and did not fail.
    request_time: Histogram

    @property
    def kv_use(self) -> float:
        """The part of the KV cache that running sequences and prefixes hold, 0 to 1."""
        return self.kv_blocks_used / self.kv_blocks if self.kv_blocks else 0.0

    @property
    def prefix_hit_rate(self) -> float:
        """The part of all prompt tokens that came from the prefix cache, 0 to 1."""
        return self.prefix_hits / self.prefix_queries if self.prefix_queries else 0.0

    def tokens_per_second(self, since: EngineStats) -> float:
        """Output tokens of all requests a second since earlier stats; 0 where no time went by."""
        elapsed = self.read_at - since.read_at
        return (self.output_tokens - since.output_tokens) / elapsed if elapsed > 0 else 0.0
