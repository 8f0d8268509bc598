"""DeepSeek V3, R1 and V3.1: one block of calls, each between markers of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from vllm_swift_engine.chat.calls import read_arguments
from vllm_swift_engine.chat.lark import Lark, either
from vllm_swift_engine.chat.probe import TemplateProbe
from vllm_swift_engine.chat.reader import Reader, Steps
from vllm_swift_engine.chat.sink import Sink

from .base import Function, Tools, Want, repeated
from .tagged import TaggedFormat

_CALLS, _CALLS_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
_CALL, _CALL_END, _SEP = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"
_FENCE = "```json"
_NAME = re.compile(r"[^\s<>`{}]+")


class DeepSeekV31Format(TaggedFormat):
    """``<｜tool▁call▁begin｜>name<｜tool▁sep｜>{...}<｜tool▁call▁end｜>``."""

    name = "deepseek_v31"
    markers = (_CALLS, _CALLS_END, _CALL, _CALL_END, _SEP)
    begins = (_CALLS,)
    end = _CALLS_END
    silent = (_CALL, _CALL_END, _SEP)
    #: Before the name, before the arguments, after them, and between calls.
    parts: ClassVar[tuple[str, str, str, str]] = ("", _SEP, "", "")

    @classmethod
    def matches(cls, probe: TemplateProbe) -> bool:
        """The markers are there, and the older format's fences are not."""
        return _CALL in probe.source and _FENCE not in (probe.call_text or probe.source)

    def write_calls(self, calls: Sequence[dict[str, Any]]) -> str:
        """One block."""
        written = self.parts[3].join(self._call(call["function"]) for call in calls)
        return f"{_CALLS}{written}{_CALLS_END}"

    def write_call(self, function: Mapping[str, Any]) -> str:
        """A block of one call."""
        return f"{_CALLS}{self._call(function)}{_CALLS_END}"

    def _call(self, function: Mapping[str, Any]) -> str:
        before, between, after, _ = self.parts
        arguments = json.dumps(function["arguments"], ensure_ascii=False)
        return f"{_CALL}{before}{function['name']}{between}{arguments}{after}{_CALL_END}"

    def call_rule(self, lark: Lark, function: Function) -> str:
        """One call with its markers."""
        before, between, after, _ = self.parts
        head = lark.text(f"{_CALL}{before}{function.name}{between}")
        return lark.rule(f"{head} {lark.json(function.schema)} {lark.text(after + _CALL_END)}")

    def blocks_rule(self, lark: Lark, want: Want) -> str:
        """All calls in one block."""
        call = either([self.call_rule(lark, function) for function in want.functions])
        calls = repeated(call, lark.text(self.parts[3]), want.several)
        return f"{calls} {lark.text(_CALLS_END)}"

    def read_block(self, reader: Reader, sink: Sink, tools: Tools, begin: str) -> Steps[str | None]:
        """Calls one after another."""
        count = 0
        while True:
            yield from reader.space()
            if (yield from reader.literal(_CALL)) is None:
                return None if count else "A block of calls must begin with a call."
            error = yield from self._read_call(reader, sink)
            if error:
                return error
            count += 1
            yield from reader.space()
            yield from reader.literal(_CALL_END)
            reader.record()

    def _read_call(self, reader: Reader, sink: Sink) -> Steps[str | None]:
        name = yield from reader.skip(_NAME)
        if (yield from reader.literal(_SEP)) is None:
            return "A call must be a name, a separator and its arguments."
        if name == "function" and (yield from reader.peek()) not in ("{", ""):
            name = yield from reader.skip(_NAME)
        yield from reader.space()
        fenced = yield from reader.literal(_FENCE, "```")
        if not name:
            return "The tool call has no name."
        sink.begin_call(name)
        error = yield from read_arguments(reader, sink)
        if error:
            return error
        sink.end_call()
        if fenced:
            yield from reader.space()
            yield from reader.literal("```")
        return None


class DeepSeekV3Format(DeepSeekV31Format):
    """The same of V3 and R1: a type before the name, arguments in a fenced block."""

    name = "deepseek_v3"
    parts = (f"function{_SEP}", f"\n{_FENCE}\n", "\n```", "\n")

    @classmethod
    def matches(cls, probe: TemplateProbe) -> bool:
        """The markers are there, and fences."""
        return _CALL in probe.source and _FENCE in (probe.call_text or probe.source)
