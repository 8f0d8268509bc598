"""Requests from submission to result; the same for threads and for asyncio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from ._ffi.channel import (
    FINISH_CANCELLED,
    FINISH_LENGTH,
    FINISH_NONE,
    FINISH_STOP,
    Batch,
    Event,
    TaskChannel,
    ThreadChannel,
)
from ._ffi.convert import Prompt
from ._ffi.runtime import RequestInfo
from .chat.completion import Completion
from .chat.logprobs import token_logprobs
from .errors import RequestCancelledError
from .outputs import FinishReason, RequestOutput, StreamChunk, Timings, TokenLogprobs, Usage
from .session import Session

_REASONS: dict[int, FinishReason] = {
    FINISH_STOP: "stop",
    FINISH_LENGTH: "length",
    FINISH_CANCELLED: "cancelled",
}


class _AnyChannel(Protocol):
    def put(self, batch: Batch) -> None: ...


ChannelT = TypeVar("ChannelT", bound=_AnyChannel)


class _Request:
    def __init__(self, session: Session, prompt: Prompt) -> None:
        self.prompt = prompt
        self.info: RequestInfo | None = None
        #: vLLM's form: the first token has none.
        self.prompt_logprobs: list[TokenLogprobs | None] | None = (
            None if prompt.sampling.prompt_logprobs is None else [None]
        )
        tokenizer = session.model.tokenizer
        self._token_bytes = tokenizer.token_bytes
        text_bytes = tokenizer.bytes_for(prompt.sampling.skip_special_tokens)
        self.completions = [
            Completion(index, text_bytes, prompt.sampling.stop_strings)
            for index in range(prompt.sampling.n)
        ]
        self.unfinished = len(self.completions)
        #: Those whose last chunk is not taken yet, and those of them with something to look at.
        self.open = [*self.completions]
        self.fresh: list[Completion] = []

    def push(self, event: Event) -> None:
        """Takes in an event's tokens, and the logprobs that come with it."""
        first = 0
        if self.prompt_logprobs is not None:
            first = event.prompt_tokens * ((self.prompt.sampling.prompt_logprobs or 0) + 1)
            self.prompt_logprobs += token_logprobs(
                event.logprobs[:first], event.prompt_tokens, self._token_bytes
            )
        own = event.logprobs[first:]
        self.completions[event.sequence].push(
            event.tokens, token_logprobs(own, len(event.tokens), self._token_bytes) if own else ()
        )

    def usage(self) -> Usage:
        prompt = len(self.prompt.tokens)
        completion = sum(len(completion.token_ids) for completion in self.completions)
        cached = self.info.cached_tokens if self.info else 0
        return Usage(prompt, completion, prompt + completion, cached)

    def timings(self) -> Timings:
        info = self.info or RequestInfo(0, 0, 0, 0.0, 0.0, 0.0)
        after_first = info.output_tokens - 1
        return Timings(
            queue_s=info.queue_s,
            prefill_s=info.prefill_s,
            decode_s=info.decode_s,
            time_to_first_token_s=info.queue_s + info.prefill_s,
            tokens_per_second=(
                after_first / info.decode_s if after_first > 0 and info.decode_s > 0 else 0.0
            ),
        )


class Generation(Generic[ChannelT]):
    """The requests of one call. Dropping it cancels those that still run."""

    def __init__(self, session: Session, prompts: Sequence[Prompt], channel: ChannelT) -> None:
        self.channel = channel
        self.closed = False
        self._session = session
        self._running = 0
        self._requests: dict[int, _Request] = {}
        # Apart from the requests: an interrupt may come as soon as there are names.
        self._names: list[int] = []
        requests = [_Request(session, prompt) for prompt in prompts]
        self._running = len(requests)
        session.submit(prompts, channel, self._names)
        self._requests = dict(zip(self._names, requests, strict=True))

    @property
    def prompt_token_ids(self) -> list[int]:
        """The first request's prompt."""
        return list(next(iter(self._requests.values())).prompt.tokens)

    @property
    def prompt_logprobs(self) -> list[TokenLogprobs | None] | None:
        """The first request's, so far."""
        return next(iter(self._requests.values())).prompt_logprobs

    @property
    def done(self) -> bool:
        """Whether every request has ended."""
        return self._running == 0

    def feed(self, events: Sequence[Event]) -> None:
        """Takes events in.

        Raises:
            VLLMSwiftError: a request failed; its own error.
        """
        for event in events:
            request = self._requests[event.request]
            completion = request.completions[event.sequence]
            ended = completion.finish_reason
            if ended is not None:
                # A stop string did, and the engine had gone on.
                continue
            request.push(event)
            if completion not in request.fresh:
                request.fresh.append(completion)
            if event.finish != FINISH_NONE:
                # vLLM's rule: a stop token is the reason if the caller asked for it, an end token
                # of the model's own is none.
                asked = request.prompt.sampling.stop_token_ids or ()
                stop = event.stop_token if event.stop_token in asked else None
                completion.finish(_REASONS.get(event.finish, "cancelled"), stop)
            if completion.finish_reason is None:
                continue
            request.unfinished -= 1
            if not request.unfinished:
                request.info = self._session.finish(event.request)
                self._running -= 1
            elif event.finish == FINISH_NONE:
                # A stop string, which the engine knows nothing of.
                self._session.runtime.cancel_sequence(event.request, event.sequence)

    def outputs(self) -> list[RequestOutput]:
        """The results, in the order of the prompts. All requests must have ended."""
        return [
            RequestOutput(
                name,
                list(request.prompt.tokens),
                [
                    completion.output(request.prompt.sampling.logprobs is not None)
                    for completion in request.completions
                ],
                request.usage(),
                request.timings(),
                request.prompt_logprobs,
            )
            for name, request in self._requests.items()
        ]

    def require_usable(self) -> None:
        """Raises ForkedProcessError in a forked child, where no event will ever arrive."""
        self._session.runtime.require_usable()

    def take(self) -> StreamChunk | None:
        """What is new of one sequence of a single request; None while there is nothing.

        The last chunk of all has the usage and the timings.
        """
        (request,) = self._requests.values()
        while request.fresh:
            completion = request.fresh.pop(0)
            text, tokens, taken = completion.take()
            logprobs = None if request.prompt.sampling.logprobs is None else taken
            if completion.finish_reason is None:
                if text:
                    return StreamChunk(completion.index, text, tokens, logprobs=logprobs)
                continue
            request.open.remove(completion)
            return StreamChunk(
                completion.index,
                text,
                tokens,
                completion.finish_reason,
                completion.stop_reason,
                None if request.open else request.usage(),
                None if request.open else request.timings(),
                logprobs,
            )
        return None

    def close(self) -> None:
        """Cancels what still runs, also from another thread. Harmless when done twice."""
        self.closed = True
        if not self.done:
            self._session.release(self._names)
            self.channel.put(RequestCancelledError("The request was cancelled."))

    def __del__(self) -> None:
        self.close()


def ends_by_itself(prompts: Sequence[Prompt]) -> bool:
    """Whether the engine ends each request: nobody has to look at its text for stop strings."""
    return not any(prompt.sampling.stop_strings for prompt in prompts)


def run(generation: Generation[ThreadChannel]) -> list[RequestOutput]:
    """Waits for all results; an exception on the way, KeyboardInterrupt too, cancels them."""
    try:
        while not generation.done:
            generation.feed(generation.channel.get())
        return generation.outputs()
    finally:
        generation.close()


async def arun(generation: Generation[TaskChannel]) -> list[RequestOutput]:
    """The same for a task; cancelling the task cancels the requests."""
    try:
        while not generation.done:
            generation.feed(await generation.channel.get())
        return generation.outputs()
    finally:
        generation.close()
