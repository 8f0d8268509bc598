"""Phi-4-mini: a JSON list of calls between ``<|tool_call|>`` and ``<|/tool_call|>``."""

from __future__ import annotations

import json
from collections.abc import Sequence

from vllm_swift_engine.chat.calls import read_call_list, read_calls
from vllm_swift_engine.chat.conversation import Message, with_system
from vllm_swift_engine.chat.probe import TemplateProbe
from vllm_swift_engine.chat.reader import Reader, Steps
from vllm_swift_engine.chat.sink import Sink

from .base import Tool, Tools
from .granite import GraniteFormat

_SYSTEM = "You are a helpful assistant with some tools."


class Phi4Format(GraniteFormat):
    """``<|tool_call|>[{"name": ..., "arguments": {...}}, ...]<|/tool_call|>``.

    Also ``functools[...]``, which the models were first taught.
    """

    name = "phi4_mini_json"
    markers = ("<|tool_call|>", "functools[", "<|/tool_call|>")
    begins = ("<|tool_call|>", "functools[")
    end = "<|/tool_call|>"
    silent = ()

    @classmethod
    def matches(cls, probe: TemplateProbe) -> bool:
        """The end of calls, or of tools, is in the template."""
        return "<|/tool_call|>" in probe.source or "<|/tool|>" in probe.source

    def prepare(
        self, messages: list[Message], tools: Sequence[Tool]
    ) -> tuple[list[Message], Sequence[Tool]]:
        """Microsoft's template takes the tools in the system message, as JSON text."""
        if not tools or self.probe.knows_tools or "<|/tool|>" not in self.probe.source:
            return super().prepare(messages, tools)
        if messages[0]["role"] != "system":
            messages = with_system(messages, _SYSTEM)
        prepared, _ = super().prepare(messages, ())
        functions = [tool["function"] for tool in tools]
        system = {**prepared[0], "tools": json.dumps(functions, ensure_ascii=False)}
        return [system, *prepared[1:]], ()

    def read_block(self, reader: Reader, sink: Sink, tools: Tools, begin: str) -> Steps[str | None]:
        """The list, or one object."""
        read = read_call_list if begin.endswith("[") else read_calls
        error = yield from read(reader, sink)
        return error
