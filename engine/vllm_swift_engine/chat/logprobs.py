"""Logprobs as the native engine tells them, to vLLM's form."""

from __future__ import annotations

from collections.abc import Sequence

from vllm_swift_engine.outputs import Logprob, TokenLogprobs

from .detokenize import TokenBytes

#: Token id, logprob, rank.
Entry = tuple[int, float, int]


def token_logprobs(
    entries: Sequence[Entry], count: int, token_bytes: TokenBytes
) -> list[TokenLogprobs]:
    """The entries of ``count`` tokens, equally many each. A token's own is the first of its own."""
    if not count:
        return []
    each = len(entries) // count
    return [
        {
            token: Logprob(logprob, rank, token_bytes.text(token))
            for token, logprob, rank in entries[start : start + each]
        }
        for start in range(0, len(entries), each)
    ]
