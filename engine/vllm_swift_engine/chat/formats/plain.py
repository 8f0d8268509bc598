"""Plain JSON, with a prompt of its own: for models whose template knows no tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vllm_swift_engine.chat.conversation import (
    Message,
    in_text,
    suited,
    with_system,
    with_text,
)
from vllm_swift_engine.chat.probe import TemplateProbe

from .bare import BareJsonFormat
from .base import Tool, call_json, functions_text

FUNCTIONS = "You can call these functions:\n{functions}"
# No example of a call: small models copy what they are shown.
HOW = (
    "To call a function, reply with nothing but JSON in this form:\n"
    '{"name": NAME, "arguments": ARGUMENTS}'
)


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
        """Tools in the system message, calls and results as text, whatever the template knows.

        How to call one is said at the end of each of the user's turns: models that were not trained
        to call functions heed what comes last. It stays there, so that a conversation that goes on
        begins with the prompt that it had.
        """
        if tools:
            messages = [
                with_text(message, HOW) if message["role"] == "user" else message
                for message in messages
            ]
            messages = with_system(messages, FUNCTIONS.format(functions=functions_text(tools)))
        return suited(in_text(messages, self.write_calls, self.write_result), self.probe), ()

    def write_call(self, function: Mapping[str, Any]) -> str:
        """One object."""
        return call_json(function)
