"""Formats whose call is the whole answer: JSON objects without markers around them."""

from __future__ import annotations

import json
import re
from typing import ClassVar

from vllm_swift_engine.chat.calls import read_call, recover
from vllm_swift_engine.chat.lark import Lark, either, regex
from vllm_swift_engine.chat.reader import Markers, Reader, Steps
from vllm_swift_engine.chat.sink import Sink

from .base import ChatFormat, Want, call_rule, repeated


class BareJsonFormat(ChatFormat):
    """An answer that begins like a call of one of the tools is calls; any other is text."""

    arguments_key: ClassVar[str]
    #: What models write between calls.
    separator: ClassVar[str]
    #: A special token that may come before.
    prefix: ClassVar[str | None] = None

    def grammar(self, lark: Lark, want: Want) -> str:
        """Text that does not begin like a call, or calls."""
        options = [call_rule(lark, one, self.arguments_key) for one in want.functions]
        calls = repeated(either(options), lark.text(self.separator), want.several)
        if self.prefix is not None:
            calls = f"({lark.text(self.prefix)})? {calls}"
        if not want.text:
            return calls
        if want.answer is not None:
            return f"{want.answer} | {calls}"
        names = "|".join(re.escape(json.dumps(one.name)[1:-1]) for one in want.functions)
        like_call = regex(rf'\s*\{{\s*"name"\s*:\s*"({names})"(?s:.*)')
        return f"{lark.terminal('NO_CALL', f'/(?s:.*)/ & ~{like_call}')} | {calls}"

    def read_answer(self, reader: Reader, sink: Sink, names: frozenset[str]) -> Steps[None]:
        """Reasoning, then calls or text."""
        if self.reasoning:
            reader.record()
            yield from reader.space()
            if (yield from reader.literal(self.reasoning.begin)) is not None:
                yield from self.read_reasoning(reader, sink)
            else:
                sink.text(reader.recorded())
        if names:
            yield from self._calls(reader, sink, names)
        markers = Markers(self.reasoning or ())
        while (marker := (yield from reader.until(markers, sink.text))) is not None:
            if self.reasoning and marker == self.reasoning.begin:
                yield from self.read_reasoning(reader, sink)

    def _calls(self, reader: Reader, sink: Sink, names: frozenset[str]) -> Steps[None]:
        if self.prefix is not None:
            yield from reader.literal(self.prefix)
        while True:
            reader.record()
            yield from reader.space()
            if (yield from reader.peek()) != "{":
                break
            error = yield from read_call(reader, sink, names)
            if error is None:
                sink.border()
                yield from reader.skip(_BETWEEN)
                continue
            if sink.in_call:
                yield from recover(reader, sink, "", error, None)
                return
            break
        sink.text(reader.recorded())


_BETWEEN = re.compile(r"[\s;,]+")
