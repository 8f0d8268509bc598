"""The text of one sequence while it is generated."""

from __future__ import annotations

from collections.abc import Sequence

from vllm_swift_engine.outputs import CompletionOutput, FinishReason, TokenLogprobs

from .detokenize import Detokenizer, TokenBytes
from .stop import StopScanner


class Completion:
    """Tokens in, visible text out: detokenizes, and ends at a stop string."""

    def __init__(self, index: int, token_bytes: TokenBytes, stop_strings: Sequence[str]) -> None:
        self.index = index
        self.finish_reason: FinishReason | None = None
        self.stop_reason: int | str | None = None
        self.token_ids: list[int] = []
        #: One for each of ``token_ids`` where the request asks for them, else empty.
        self.logprobs: list[TokenLogprobs] = []
        self._detokenizer = Detokenizer(token_bytes)
        self._scanner = StopScanner(stop_strings)
        self._texts: list[str] = []
        self._taken_texts = 0
        self._taken_tokens = 0

    def push(self, tokens: Sequence[int], logprobs: Sequence[TokenLogprobs] = ()) -> None:
        """Adds tokens with their logprobs, if any, up to the one that completes a stop string."""
        before = len(self.token_ids)
        for token in tokens:
            if self.finish_reason is not None:
                break
            self.token_ids.append(token)
            self._add(self._detokenizer.push(token))
        self.logprobs += logprobs[: len(self.token_ids) - before]

    def finish(self, reason: FinishReason, stop_reason: int | None = None) -> None:
        """Ends the sequence, unless a stop string has ended it already."""
        if self.finish_reason is None:
            self._add(self._detokenizer.flush())
        if self.finish_reason is None:
            self._texts.append(self._scanner.flush())
            self.finish_reason, self.stop_reason = reason, stop_reason

    def _add(self, text: str) -> None:
        if not text:
            return
        self._texts.append(self._scanner.push(text))
        if self._scanner.matched is not None:
            self.finish_reason, self.stop_reason = "stop", self._scanner.matched

    def take(self) -> tuple[str, list[int], list[TokenLogprobs]]:
        """The text that became visible since the last call, with the tokens it came with.

        While there is none, tokens wait as well.
        """
        text = "".join(self._texts[self._taken_texts :])
        self._taken_texts = len(self._texts)
        if not text and self.finish_reason is None:
            return "", [], []
        tokens = self.token_ids[self._taken_tokens :]
        logprobs = self.logprobs[self._taken_tokens :]
        self._taken_tokens = len(self.token_ids)
        return text, tokens, logprobs

    def output(self, with_logprobs: bool = False) -> CompletionOutput:
        """The finished sequence."""
        assert self.finish_reason is not None
        own = zip(self.token_ids, self.logprobs, strict=with_logprobs)
        return CompletionOutput(
            self.index,
            "".join(self._texts),
            self.token_ids,
            self.finish_reason,
            self.stop_reason,
            self.logprobs if with_logprobs else None,
            sum(logprobs[token].logprob for token, logprobs in own) if with_logprobs else None,
        )
