"""The text of one sequence while it is generated."""

from __future__ import annotations

from collections.abc import Sequence

from vllm_swift_engine.outputs import CompletionOutput, FinishReason, TokenLogprobs

from .detokenize import Detokenizer, TokenBytes
from .stop import StopScanner


class Completion:
    """Tokens in, visible text out: detokenizes, and ends at a stop string.

    Only a stop string needs each token's text as the token comes. Without one, text is made when
    somebody looks: at every step of a stream, and once at the end of a result.
    """

    def __init__(self, index: int, token_bytes: TokenBytes, stop_strings: Sequence[str]) -> None:
        self.index = index
        self.finish_reason: FinishReason | None = None
        self.stop_reason: int | str | None = None
        self.token_ids: list[int] = []
        #: One for each of ``token_ids`` where the request asks for them, else empty.
        self.logprobs: list[TokenLogprobs] = []
        self._detokenizer = Detokenizer(token_bytes)
        self._decoded_tokens = 0
        self._scanner = StopScanner(stop_strings) if stop_strings else None
        self._texts: list[str] = []
        self._taken_texts = 0
        self._taken_tokens = 0

    def push(self, tokens: Sequence[int], logprobs: Sequence[TokenLogprobs] = ()) -> None:
        """Adds tokens with their logprobs, if any, up to the one that completes a stop string."""
        if self.finish_reason is not None:
            return
        before = len(self.token_ids)
        if self._scanner is None:
            self.token_ids.extend(tokens)
        else:
            self._push_each(self._scanner, tokens)
        self.logprobs += logprobs[: len(self.token_ids) - before]

    def _push_each(self, scanner: StopScanner, tokens: Sequence[int]) -> None:
        for token in tokens:
            self.token_ids.append(token)
            self._scan(scanner, self._detokenizer.push(token))
            if scanner.matched is not None:
                return

    def finish(self, reason: FinishReason, stop_reason: int | None = None) -> None:
        """Ends the sequence, unless a stop string has ended it already."""
        if self._scanner is not None and self.finish_reason is None:
            self._scan(self._scanner, self._detokenizer.flush())
            self._texts.append(self._scanner.flush())
        if self.finish_reason is None:
            self.finish_reason, self.stop_reason = reason, stop_reason

    def _scan(self, scanner: StopScanner, text: str) -> None:
        if not text:
            return
        self._texts.append(scanner.push(text))
        if scanner.matched is not None:
            self.finish_reason, self.stop_reason = "stop", scanner.matched

    def _decode(self) -> None:
        """Makes text of the tokens that came since the last look."""
        if self._scanner is not None:
            return
        text = self._detokenizer.push(*self.token_ids[self._decoded_tokens :])
        self._decoded_tokens = len(self.token_ids)
        if self.finish_reason is not None:
            text += self._detokenizer.flush()
        self._texts.append(text)

    def take(self) -> tuple[str, list[int], list[TokenLogprobs]]:
        """The text that became visible since the last call, with the tokens it came with.

        While there is none, tokens wait as well.
        """
        if self._taken_tokens == len(self.token_ids) and self.finish_reason is None:
            return "", [], []
        self._decode()
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
        self._decode()
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
