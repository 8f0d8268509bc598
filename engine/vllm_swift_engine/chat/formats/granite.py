"""Granite 3: ``<|tool_call|>`` before a JSON list of calls. Granite 4 is Hermes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from vllm_swift_engine.chat.calls import read_calls
from vllm_swift_engine.chat.lark import Lark
from vllm_swift_engine.chat.probe import TemplateProbe
from vllm_swift_engine.chat.reader import Reader, Steps
from vllm_swift_engine.chat.sink import Sink

from .base import Function, Tools, call_json, call_rule
from .tagged import ListedFormat


class GraniteFormat(ListedFormat):
    """``<|tool_call|>[{"name": ..., "arguments": {...}}, ...]``, which nothing ends."""

    name = "granite"
    markers: ClassVar[tuple[str, ...]] = (
        "<|tool_call|>",
        "<tool_call>",
        "<response>",
        "</response>",
    )
    begins: ClassVar[tuple[str, ...]] = ("<|tool_call|>", "<tool_call>")
    silent: ClassVar[tuple[str, ...]] = ("<response>", "</response>")
    layout = ("", "", " ")

    @classmethod
    def matches(cls, probe: TemplateProbe) -> bool:
        """The marker is there, and Phi's end of it is not."""
        return "<|tool_call|>" in probe.with_call and "<|/tool_call|>" not in probe.source

    def write_calls(self, calls: Sequence[dict[str, Any]]) -> str:
        """One list."""
        functions = ", ".join(call_json(call["function"]) for call in calls)
        return f"{self.begins[0]}[{functions}]{self.end}"

    def write_call(self, function: Mapping[str, Any]) -> str:
        """A list of one."""
        return f"{self.begins[0]}[{call_json(function)}]{self.end}"

    def call_rule(self, lark: Lark, function: Function) -> str:
        """One object."""
        return call_rule(lark, function)

    def read_block(self, reader: Reader, sink: Sink, tools: Tools, begin: str) -> Steps[str | None]:
        """The list, or one object."""
        error = yield from read_calls(reader, sink)
        return error
