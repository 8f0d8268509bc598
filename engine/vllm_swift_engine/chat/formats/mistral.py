"""Mistral: ``[TOOL_CALLS]`` before a JSON list, or since 2025 before each call's name."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import string
from collections.abc import Mapping, Sequence
from typing import Any

from vllm_swift_engine.chat.calls import read_arguments, read_calls
from vllm_swift_engine.chat.conversation import Message
from vllm_swift_engine.chat.lark import Lark
from vllm_swift_engine.chat.probe import TemplateProbe
from vllm_swift_engine.chat.reader import Reader, Steps
from vllm_swift_engine.chat.sink import Sink

from .base import Function, Reasoning, Tool, Tools, Want, call_json, call_rule
from .tagged import ListedFormat, TaggedFormat

_ID = re.compile(r"[A-Za-z0-9]{9}")
_CHARACTERS = string.ascii_letters + string.digits
_HEADER = re.compile(r"[^\[\]{}\s]+")


class MistralFormat(ListedFormat):
    """``[TOOL_CALLS][{...}, ...]`` or ``[TOOL_CALLS]name[ARGS]{...}``, as the template has it.

    Either is read, whichever the template has.
    """

    name = "mistral"
    markers = ("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]")
    begins = ("[TOOL_CALLS]",)

    def __init__(self, probe: TemplateProbe, reasoning: Reasoning | None) -> None:
        super().__init__(probe, reasoning)
        self._named = "[ARGS]" in probe.source
        self._ids = "[CALL_ID]" in probe.source
        self.layout = ("", "", "" if self._named else " ")

    @classmethod
    def matches(cls, probe: TemplateProbe) -> bool:
        """The marker is in the calls."""
        return "[TOOL_CALLS]" in probe.call_text

    def new_id(self) -> str:
        """Nine letters and digits; templates refuse others."""
        return "".join(secrets.choice(_CHARACTERS) for _ in range(9))

    def prepare(
        self, messages: list[Message], tools: Sequence[Tool]
    ) -> tuple[list[Message], Sequence[Tool]]:
        """Ids from elsewhere become ones that the template takes, the same each time."""
        suited = []
        for message in messages:
            message = dict(message)
            if calls := message.get("tool_calls"):
                message["tool_calls"] = [{**call, "id": _mistral_id(call["id"])} for call in calls]
            if message["role"] == "tool":
                message["tool_call_id"] = _mistral_id(str(message.get("tool_call_id", "")))
            suited.append(message)
        return super().prepare(suited, tools)

    def write_calls(self, calls: Sequence[dict[str, Any]]) -> str:
        """One list, or one call after another."""
        if self._named:
            return "".join(self._write_named(call["function"], call.get("id")) for call in calls)
        return f"[TOOL_CALLS][{', '.join(call_json(call['function']) for call in calls)}]"

    def write_call(self, function: Mapping[str, Any]) -> str:
        """One call by itself."""
        return self.write_calls([{"function": function}])

    def _write_named(self, function: Mapping[str, Any], number: str | None) -> str:
        shown = f"[CALL_ID]{_mistral_id(number or function['name'])}" if self._ids else ""
        arguments = json.dumps(function["arguments"], ensure_ascii=False)
        return f"[TOOL_CALLS]{function['name']}{shown}[ARGS]{arguments}"

    def call_rule(self, lark: Lark, function: Function) -> str:
        """One object, or a name and its arguments."""
        if not self._named:
            return call_rule(lark, function)
        number = f"{lark.text('[CALL_ID]')} /[A-Za-z0-9]{{9}}/" if self._ids else ""
        name, arguments = lark.text(function.name), lark.json(function.schema)
        return lark.rule(f"{name} {number} {lark.text('[ARGS]')} {arguments}")

    def blocks_rule(self, lark: Lark, want: Want) -> str:
        """One block, or one a call."""
        if self._named:
            return TaggedFormat.blocks_rule(self, lark, want)
        return f'" "? {super().blocks_rule(lark, want)}'

    def read_block(self, reader: Reader, sink: Sink, tools: Tools, begin: str) -> Steps[str | None]:
        """A list, or calls by their names."""
        yield from reader.space()
        if (yield from reader.peek()) in ("[", "{"):
            error = yield from read_calls(reader, sink)
            return error
        name = yield from reader.skip(_HEADER)
        number = None
        if (yield from reader.literal("[CALL_ID]")) is not None:
            number = yield from reader.skip(_HEADER)
        yield from reader.space()
        if not name or (yield from reader.literal("[ARGS]")) is None:
            return "A call must be a name, [ARGS] and its arguments."
        sink.begin_call(name, number)
        error = yield from read_arguments(reader, sink)
        if error is None:
            sink.end_call()
        return error


def _mistral_id(given: str) -> str:
    if _ID.fullmatch(given):
        return given
    digest = hashlib.sha256(given.encode()).digest()
    return "".join(_CHARACTERS[byte % len(_CHARACTERS)] for byte in digest[:9])
