from __future__ import annotations

import pytest
import tokenizers

from vllm_swift_engine.chat.completion import Completion
from vllm_swift_engine.chat.detokenize import TokenBytes
from vllm_swift_engine.chat.logprobs import token_logprobs
from vllm_swift_engine.errors import InvalidArgumentError
from vllm_swift_engine.models.bad_words import bad_word_tokens
from vllm_swift_engine.models.tokenizer import Tokenizer
from vllm_swift_engine.outputs import Logprob


@pytest.fixture
def token_bytes(byte_tokenizer: tokenizers.Tokenizer) -> TokenBytes:
    return TokenBytes(byte_tokenizer)


def test_entries_become_a_dict_a_token(token_bytes: TokenBytes) -> None:
    tokens = token_bytes._tokenizer.encode("ab").ids
    a, b = tokens
    entries = [(a, -3.0, 7), (b, -0.5, 1), (b, -0.25, 1), (b, -0.25, 1)]
    first, second = token_logprobs(entries, 2, token_bytes)
    assert first == {a: Logprob(-3.0, 7, "a"), b: Logprob(-0.5, 1, "b")}
    assert [*first] == [a, b]
    assert second == {b: Logprob(-0.25, 1, "b")}
    assert token_logprobs([], 0, token_bytes) == []


def test_a_token_by_itself_is_text_too(token_bytes: TokenBytes) -> None:
    end = token_bytes._tokenizer.token_to_id("<|end|>")
    part = token_bytes._tokenizer.encode("é").ids[0]
    assert token_bytes.text(end) == "<|end|>"
    assert token_bytes.text(part) == "\ufffd"
    assert token_bytes.text(10**6) == ""


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_stop_string_cuts_logprobs_with_the_tokens(token_bytes: TokenBytes, size: int) -> None:
    tokens = token_bytes._tokenizer.encode("abcdef").ids
    entries = [{token: Logprob(-float(i), 1, "")} for i, token in enumerate(tokens)]
    completion = Completion(0, token_bytes, ("cd",))
    taken = []
    for start in range(0, len(tokens), size):
        completion.push(tokens[start : start + size], entries[start : start + size])
        _, ids, logprobs = completion.take()
        assert [next(iter(entry)) for entry in logprobs] == ids
        taken += logprobs
    completion.finish("length")
    output = completion.output(with_logprobs=True)
    assert output.token_ids == tokens[:4]
    assert output.logprobs == entries[:4] == taken
    assert output.cumulative_logprob == -6.0


def test_a_bad_word_is_banned_at_the_start_and_after_a_space() -> None:
    vocabulary = {"a": 0, "b": 1, " ": 2, " a": 3, "ab": 4, " ab": 5}
    backend = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocabulary, [("a", "b"), (" ", "a"), (" ", "ab")])
    )
    backend.decoder = tokenizers.decoders.ByteLevel()
    tokenizer = Tokenizer(backend, {}, ())
    # "b" after a space is two tokens, so it is banned by itself alone.
    assert bad_word_tokens(["a", "  ab", "b", "ba"], tokenizer) == [[0], [3], [4], [5], [1], [1, 0]]
    with pytest.raises(InvalidArgumentError, match="'zz'"):
        bad_word_tokens(["zz"], tokenizer)
