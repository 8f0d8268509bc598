"""When the text of a sequence is made."""

from __future__ import annotations

from vllm_swift_engine.chat.completion import Completion


class CountedBytes:
    """The bytes of tokens, and how often they were asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def __getitem__(self, token: int) -> bytes:
        self.asked += 1
        return bytes([97 + token])


def test_text_is_made_once_somebody_looks() -> None:
    token_bytes = CountedBytes()
    completion = Completion(0, token_bytes, [])
    for token in range(20):
        completion.push([token])
    assert token_bytes.asked == 0
    completion.finish("length")
    assert completion.output().text == "abcdefghijklmnopqrst"
    assert token_bytes.asked == 20


def test_a_stop_string_is_looked_for_at_every_token() -> None:
    token_bytes = CountedBytes()
    completion = Completion(0, token_bytes, ["de"])
    for token in range(20):
        completion.push([token])
    assert (completion.finish_reason, completion.stop_reason) == ("stop", "de")
    assert completion.output().text == "abc"
    assert token_bytes.asked == 5
