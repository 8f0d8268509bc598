"""Plain JSON, with a prompt of its own: for models whose template knows no tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vllm_swift_engine.chat.conversation import Message, in_text, suited, with_system
from vllm_swift_engine.chat.probe import TemplateProbe

from .bare import BareJsonFormat
from .base import Tool, call_json


class PlainFormat(BareJsonFormat):
    """``{"name": ..., "arguments": {...}}`` is the whole answer, or the answer is text."""

    name = "json"
    arguments_key = "arguments"
    separator = "\n"

    @classmethod
    def matches(cls, probe: TemplateProbe) -> bool:
        """It is what is left when no other does."""
        return not probe.knows_tools

    def prepare(
        self, messages: list[Message], tools: Sequence[Tool]
    ) -> tuple[list[Message], Sequence[Tool]]:
        """Tools in the system message, calls and results as text, whatever the template knows."""
        messages = in_text(messages, self.write_calls, self.write_result)
        if tools:
            messages = with_system(messages, self.tools_prompt(tools))
        return suited(messages, self.probe), ()

    def write_call(self, function: Mapping[str, Any]) -> str:
        """One object."""
        return call_json(function)
