"""Llama 3.1, 3.2 and 3.3: the answer is JSON, maybe after ``<|python_tag|>``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from vllm_swift_engine.chat.probe import NAME, TemplateProbe

from .bare import BareJsonFormat
from .base import call_json

_CALL = re.compile(rf'\{{\s*"name":\s*"{NAME}",\s*"parameters":')


class Llama3Format(BareJsonFormat):
    """``{"name": ..., "parameters": {...}}``, several with ``;`` between."""

    name = "llama3_json"
    markers = ("<|python_tag|>",)
    arguments_key = "parameters"
    separator = "; "
    prefix = "<|python_tag|>"

    @classmethod
    def matches(cls, probe: TemplateProbe) -> bool:
        """Calls are shown bare, with Meta's key for the arguments."""
        return _CALL.search(probe.call_text) is not None

    def write_calls(self, calls: Sequence[dict[str, Any]]) -> str:
        """All calls, one after another."""
        return self.separator.join(self.write_call(call["function"]) for call in calls)

    def write_call(self, function: Mapping[str, Any]) -> str:
        """One object."""
        return call_json(function, self.arguments_key)
