"""Hermes and Qwen: ``<tool_call>`` around one JSON object each.

NousResearch's Hermes 2 Pro and 3, Qwen2.5, QwQ, Qwen3 and what is made after them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vllm_swift_engine.chat.calls import read_call
from vllm_swift_engine.chat.lark import Lark
from vllm_swift_engine.chat.probe import TemplateProbe
from vllm_swift_engine.chat.reader import Reader, Steps
from vllm_swift_engine.chat.sink import Sink

from .base import Function, Tools, call_json, call_rule
from .tagged import TaggedFormat

_CALL = re.compile(r"<tool_call>\s*\{")


class HermesFormat(TaggedFormat):
    """``<tool_call>{"name": ..., "arguments": {...}}</tool_call>``, each on lines of its own."""

    name = "hermes"
    markers = ("<tool_call>", "</tool_call>")
    begins = ("<tool_call>",)
    end = "</tool_call>"
    layout = ("\n", "\n", "\n")

    @classmethod
    def matches(cls, probe: TemplateProbe) -> bool:
        """A brace after the marker, in calls, or in the prompt where no calls are shown."""
        return _CALL.search(probe.call_text or probe.with_tools) is not None

    def write_call(self, function: Mapping[str, Any]) -> str:
        """One block."""
        return f"<tool_call>\n{call_json(function)}\n</tool_call>"

    def call_rule(self, lark: Lark, function: Function) -> str:
        """One object."""
        return call_rule(lark, function)

    def read_block(self, reader: Reader, sink: Sink, tools: Tools, begin: str) -> Steps[str | None]:
        """One object, or several without markers between."""
        while (error := (yield from read_call(reader, sink))) is None:
            yield from reader.space()
            if (yield from reader.peek()) != "{":
                return None
        return error
