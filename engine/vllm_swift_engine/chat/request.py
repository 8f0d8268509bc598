"""One chat request: prompt, grammar and parser, all of one format."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vllm_swift_engine.grammar import StructuredOutputsParams
from vllm_swift_engine.models.tokenizer import Tokenizer
from vllm_swift_engine.outputs import CompletionOutput

from .deltas import ChatDelta, ChatMessage, ChatParser, ToolCall
from .detokenize import Detokenizer
from .parser import PlainParser, StreamParser
from .sink import Sink

if TYPE_CHECKING:
    from .formats.base import ChatFormat


@dataclasses.dataclass(frozen=True)
class ChatRequest:
    """What a chat request asks the engine, and how its answer is read.

    Give ``prompt_token_ids`` to the engine with sampling parameters that have this
    ``structured_outputs`` and ``skip_special_tokens``, and each output's text to a parser of its
    own from :meth:`new_parser`, or the whole output to :meth:`parse`.
    """

    prompt_token_ids: list[int]
    #: The grammar of the answer; None is any text.
    structured_outputs: StructuredOutputsParams | None
    #: What the parser needs: False where markers are special tokens.
    skip_special_tokens: bool
    chat_format: ChatFormat
    #: The tools that may be called: their names, and the JSON schemas of their arguments.
    tools: Mapping[str, Mapping[str, Any]]
    #: Whether the prompt has begun the reasoning.
    thinking: bool
    _tokenizer: Tokenizer = dataclasses.field(repr=False)

    @property
    def is_plain(self) -> bool:
        """Whether the answer is nothing but text."""
        return not self.tools and self.chat_format.reasoning is None

    def new_parser(self) -> ChatParser:
        """A parser for one output of this request."""
        if self.is_plain:
            return PlainParser()
        routine = self.chat_format.routine(self.tools, self.thinking)
        return StreamParser(routine, Sink(self.chat_format.new_id))

    def parse(self, output: CompletionOutput) -> ChatMessage:
        """A whole output. Tokens of reasoning are counted exactly."""
        parser = self.new_parser()
        deltas = [parser.push(text, tokens) for text, tokens in self._pieces(output)]
        return joined([*deltas, parser.flush()], parser.reasoning_tokens)

    def _pieces(self, output: CompletionOutput) -> list[tuple[str, int]]:
        if self.chat_format.reasoning is None:
            return [(output.text, len(output.token_ids))]
        detokenizer = Detokenizer(self._tokenizer.bytes_for(self.skip_special_tokens))
        pieces, left = [], len(output.text)
        for token in output.token_ids:
            # A stop string is not part of the text, but of the tokens.
            text = detokenizer.push(token)[:left]
            left -= len(text)
            pieces.append((text, 1))
        return [*pieces, (output.text[len(output.text) - left :] if left else "", 0)]


def joined(deltas: Sequence[ChatDelta], reasoning_tokens: int = 0) -> ChatMessage:
    """The pieces of one answer as a whole, calls that turned out to be none left out."""
    invalid = [call for delta in deltas for call in delta.invalid_tool_calls]
    void = {call.index for call in invalid}
    calls: dict[int, ToolCall] = {}
    for piece in (piece for delta in deltas for piece in delta.tool_calls):
        known = calls.get(piece.index) or ToolCall(piece.id or "", piece.name or "", "")
        calls[piece.index] = dataclasses.replace(known, arguments=known.arguments + piece.arguments)
    return ChatMessage(
        "".join(delta.text for delta in deltas),
        "".join(delta.reasoning for delta in deltas),
        tuple(call for index, call in calls.items() if index not in void),
        tuple(invalid),
        reasoning_tokens,
    )
