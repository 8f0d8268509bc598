"""Formats whose call is the whole answer: JSON objects without markers around them."""

from __future__ import annotations

import json
import re
from typing import ClassVar

from vllm_swift_engine.chat.calls import read_call, recover
from vllm_swift_engine.chat.lark import TEXT, Lark, either, regex
from vllm_swift_engine.chat.reader import Markers, Reader, Steps
from vllm_swift_engine.chat.sink import Sink

from .base import ChatFormat, Tools, Want, call_rule, repeated


class BareJsonFormat(ChatFormat):
    """An answer that begins like a call of one of the tools is calls; any other is text."""

    arguments_key: ClassVar[str]
    #: What models write between calls.
    separator: ClassVar[str]
    #: A special token that may come before.
    prefix: ClassVar[str | None] = None

    def grammar(self, lark: Lark, want: Want) -> str:
        """Text that does not begin like a call, or calls."""
        if not want.functions:
            return want.answer or TEXT
        options = [call_rule(lark, one, self.arguments_key) for one in want.functions]
        calls = repeated(either(options), lark.text(self.separator), want.several)
        prefixed = f"({lark.text(self.prefix)})? {calls}" if self.prefix else calls
        if not want.text:
            return prefixed
        if want.answer is not None:
            return f"{want.answer} | {prefixed}"
        names = "|".join(re.escape(json.dumps(one.name)[1:-1]) for one in want.functions)
        like_call = regex(rf'\s*\{{\s*"name"\s*:\s*"({names})"(?s:.*)')
        text = lark.terminal(f"/(?s:.*)/ & ~{like_call}")
        if self.prefix:
            return f"{text} | {lark.until(self.prefix, text)} {calls} | {calls}"
        return f"{text} | {calls}"

    def read_answer(self, reader: Reader, sink: Sink, tools: Tools) -> Steps[None]:
        """Reasoning, then calls or text."""
        if self.reasoning:
            reader.record()
            yield from reader.space()
            if (yield from reader.literal(self.reasoning.begin)) is not None:
                yield from self.read_reasoning(reader, sink)
            else:
                sink.text(reader.recorded())
        if tools:
            yield from self._calls(reader, sink, tools)
        prefixes = [self.prefix] if self.prefix else []
        markers = Markers([*prefixes, *(self.reasoning or ())])
        while (marker := (yield from reader.until(markers, sink.text))) is not None:
            if self.reasoning and marker == self.reasoning.begin:
                yield from self.read_reasoning(reader, sink)
            elif marker == self.prefix:
                sink.border()
                if tools:
                    yield from self._calls(reader, sink, tools, marker)

    def _calls(self, reader: Reader, sink: Sink, tools: Tools, opening: str = "") -> Steps[None]:
        while True:
            reader.record()
            yield from reader.space()
            if (yield from reader.peek()) != "{":
                break
            error = yield from read_call(reader, sink, tools)
            if error is None:
                sink.border()
                yield from reader.skip(_BETWEEN)
                continue
            if sink.in_call:
                yield from recover(reader, sink, opening, error, None)
                return
            break
        sink.text(reader.recorded())


_BETWEEN = re.compile(r"[\s;,]+")
