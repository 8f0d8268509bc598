"""GPT-OSS: OpenAI's harmony, in which each message has a channel and maybe a recipient.

``openai-harmony`` is no dependency: its encoding is downloaded when it is first used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from vllm_swift_engine.chat.calls import read_arguments, recover
from vllm_swift_engine.chat.conversation import Message
from vllm_swift_engine.chat.lark import TEXT, Lark, either
from vllm_swift_engine.chat.probe import TemplateProbe
from vllm_swift_engine.chat.reader import Markers, Reader, Steps
from vllm_swift_engine.chat.sink import Sink

from .base import ChatFormat, Function, Reasoning, Tool, Tools, Want

_START, _CHANNEL, _MESSAGE = "<|start|>", "<|channel|>", "<|message|>"
_CONSTRAIN, _END, _CALL, _RETURN = "<|constrain|>", "<|end|>", "<|call|>", "<|return|>"
_ENDS = Markers([_END, _CALL, _RETURN, _START])
_HEADER_BEGINS = (f"{_START}assistant", _START, _CHANNEL, "to=")
_HEADER_ENDS = Markers([_MESSAGE, _END, _CALL, _RETURN])
_MARKERS = Markers([_START, _CHANNEL, _MESSAGE, _CONSTRAIN, _END, _CALL, _RETURN])
#: The recipient stands before the channel or after it; then comes what the content is.
_HEADER = re.compile(
    r"\s*(?:(?:<\|start\|>)?assistant)?\s*(?:to=(?P<before>[^\s<]+)\s*)?"
    r"<\|channel\|>(?P<channel>analysis|commentary|final)\s*(?:to=(?P<after>[^\s<]+)\s*)?"
    r"(?:<\|constrain\|>)?(?:json|code)?\s*<\|message\|>"
)


class HarmonyFormat(ChatFormat):
    """``<|channel|>commentary to=functions.name <|constrain|>json<|message|>{...}<|call|>``.

    The channel "analysis" is reasoning; "final", and "commentary" to nobody, are text.
    """

    name = "harmony"
    markers = (_START, _CHANNEL, _MESSAGE, _CONSTRAIN, _END, _CALL, _RETURN)

    def __init__(self, probe: TemplateProbe, reasoning: Reasoning | None) -> None:
        # Channels are always read, also of a request without tools.
        super().__init__(probe, Reasoning(f"{_CHANNEL}analysis{_MESSAGE}", _END))

    @classmethod
    def matches(cls, probe: TemplateProbe) -> bool:
        """Messages have channels."""
        return _CHANNEL in probe.source and _MESSAGE in probe.source

    # ------------------------------------------------------------------ prompts

    def prepare(
        self, messages: list[Message], tools: Sequence[Tool]
    ) -> tuple[list[Message], Sequence[Tool]]:
        """The template reads earlier reasoning as ``thinking``."""
        renamed = [
            {**message, "thinking": message["reasoning_content"]}
            if message.get("reasoning_content") and "thinking" not in message
            else message
            for message in messages
        ]
        return super().prepare(renamed, tools)

    def write_calls(self, calls: Sequence[dict[str, Any]]) -> str:
        """One message a call."""
        between = f"{_START}assistant"
        return between.join(self.write_call(call["function"]) for call in calls)

    def write_call(self, function: Mapping[str, Any]) -> str:
        """A message to a function."""
        return self._head(function["name"]) + _arguments(function) + _CALL

    @staticmethod
    def _head(name: str) -> str:
        return f"{_CHANNEL}commentary to=functions.{name} {_CONSTRAIN}json{_MESSAGE}"

    # ------------------------------------------------------------------ grammar

    def is_bare(self, prompt: str) -> bool:
        """Never: the final message has a header."""
        return False

    def reasoning_rule(self, lark: Lark, prompt: str) -> str:
        """Part of :meth:`grammar`, since every channel has the same markers."""
        return ""

    def needed_markers(self, tools: bool) -> tuple[str, ...]:
        """All, always."""
        return self.markers

    def grammar(self, lark: Lark, want: Want) -> str:
        """Reasoning and words to the user, then calls or the final message."""
        start, end = lark.text(f"{_START}assistant"), lark.text(_END)
        thought = lark.text(f"{_CHANNEL}analysis{_MESSAGE}")
        said = lark.text(f"{_CHANNEL}commentary{_MESSAGE}")
        before = lark.rule(f"({thought} | {said}) {TEXT} {end} {start}")
        options = []
        if want.functions:
            call = either([self._call_rule(lark, one) for one in want.functions])
            # A call's end token ends the answer; several come with the marker of the next.
            more = f"({lark.text(_CALL)} {start} {call})*" if want.several else ""
            options.append(f"{call} {more} ({lark.text(_CALL)})?")
        if want.text:
            final = lark.text(f"{_CHANNEL}final{_MESSAGE}")
            options.append(f"{final} {want.answer or TEXT} ({lark.text(_RETURN)})?")
        return f"{before}* ({' | '.join(options)})"

    def _call_rule(self, lark: Lark, function: Function) -> str:
        head = lark.text(self._head(function.name))
        return lark.rule(f"{head} {lark.json(function.schema)}")

    # ------------------------------------------------------------------ answers

    def read_answer(self, reader: Reader, sink: Sink, tools: Tools) -> Steps[None]:
        """Messages to the end; what has no header is text."""
        ended: str | None = ""
        while ended is not None:
            if ended:
                sink.border()
            reader.record()
            yield from reader.space()
            if ended != _START and (yield from reader.literal(*_HEADER_BEGINS)) is None:
                sink.text(reader.recorded())
                ended = yield from reader.until(_ENDS, sink.text)
            else:
                ended = yield from self._message(reader, sink)

    def _message(self, reader: Reader, sink: Sink) -> Steps[str | None]:
        """Reads one message whose header has begun. Returns what ended it, None at the end."""
        rest: list[str] = []
        ended = yield from reader.until(_HEADER_ENDS, rest.append)
        header = _HEADER.fullmatch(reader.recorded())
        if header is None:
            sink.text(_MARKERS.pattern.sub(" ", reader.recorded()))
            return (yield from reader.until(_ENDS, sink.text)) if ended == _MESSAGE else ended
        if recipient := header["before"] or header["after"]:
            return (yield from self._call(reader, sink, recipient))
        if header["channel"] != "analysis":
            return (yield from reader.until(_ENDS, sink.text))
        sink.think(True)
        ended = yield from reader.until(_ENDS, sink.reasoning)
        if ended is not None:
            sink.think(False)
        return ended

    def _call(self, reader: Reader, sink: Sink, recipient: str) -> Steps[str | None]:
        name = recipient.removeprefix("functions.")
        if name == recipient:
            error: str | None = f"The model called {recipient}, which is no function."
        else:
            sink.begin_call(name)
            error = yield from read_arguments(reader, sink)
        if error is not None:
            return (yield from recover(reader, sink, "", error, _ENDS))
        sink.end_call()
        return (yield from reader.until(_ENDS, sink.text))


def _arguments(function: Mapping[str, Any]) -> str:
    return json.dumps(function["arguments"], ensure_ascii=False)
