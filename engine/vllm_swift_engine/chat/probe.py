"""What a model's chat template can do, found out by rendering small conversations with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from vllm_swift_engine.errors import InvalidArgumentError
from vllm_swift_engine.models.template import ChatTemplate

NAME, KEY, VALUE, RESULT = "probe_tool", "probe_key", "probe_value", "probe_result"
# Mistral's templates want ids of nine letters and digits.
IDS = ("probeid00", "probeid01")

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": NAME,
        "description": "probe_description",
        "parameters": {
            "type": "object",
            "properties": {KEY: {"type": "string", "description": "probe"}},
            "required": [KEY],
        },
    },
}
_USER = {"role": "user", "content": "probe_user"}


class CallStyle(NamedTuple):
    """How a template wants the assistant's tool calls to read them."""

    #: Arguments as JSON text instead of a dict.
    text_arguments: bool
    #: A message that has calls has None as its content.
    null_content: bool


def call(index: int, style: CallStyle) -> dict[str, Any]:
    """A tool call of the probe's tool."""
    arguments: Any = f'{{"{KEY}": "{VALUE}"}}' if style.text_arguments else {KEY: VALUE}
    return {
        "id": IDS[index],
        "type": "function",
        "function": {"name": NAME, "arguments": arguments},
    }


def turn(style: CallStyle, *calls: dict[str, Any]) -> dict[str, Any]:
    """An assistant's turn with these calls."""
    content = None if style.null_content else ""
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def result(index: int) -> dict[str, Any]:
    """The result of a tool call."""
    return {"role": "tool", "tool_call_id": IDS[index], "name": NAME, "content": RESULT}


class TemplateProbe:
    """Each answer is found when it is first asked for, by a render or a few."""

    def __init__(self, template: ChatTemplate) -> None:
        self.template = template

    def render(self, *messages: Mapping[str, Any], **variables: Any) -> str | None:
        """The prompt, or None where the template refuses.

        Raises:
            UnsupportedError: the model has no chat template.
            ModelCorruptError: the template is not valid.
        """
        try:
            return self.template.render(messages, **variables)
        except InvalidArgumentError:
            return None

    @cached_property
    def source(self) -> str:
        """The templates' own text."""
        return self.template.source

    @cached_property
    def prompt(self) -> str:
        """A user's turn and the beginning of the assistant's."""
        return self.render(_USER) or ""

    @cached_property
    def with_tools(self) -> str:
        """The same with a tool."""
        return self.render(_USER, tools=[TOOL]) or ""

    @property
    def knows_tools(self) -> bool:
        """Whether tools that are given are shown to the model."""
        return NAME in self.with_tools

    @cached_property
    def call_style(self) -> CallStyle | None:
        """How the template takes tool calls; None where it shows none."""
        for style in _STYLES:
            whole = self.render(_USER, turn(style, call(0, style)), tools=[TOOL]) or ""
            shown = whole.rpartition("probe_user")[2]
            # A dict that is printed, or text that is made JSON once more, is not what was meant.
            mistaken = f"'{KEY}'" in shown or f'\\"{KEY}' in shown
            if NAME in shown and VALUE in shown and not mistaken:
                return style
        return None

    @cached_property
    def with_call(self) -> str:
        """A tool, its call and its result, as far as the template shows them."""
        style = self.call_style
        if style is None:
            return self.with_tools
        messages = (_USER, turn(style, call(0, style)))
        whole = self.render(*messages, result(0), tools=[TOOL])
        return whole or self.render(*messages, tools=[TOOL]) or self.with_tools

    @property
    def call_text(self) -> str:
        """How a tool call is shown; empty where it is not."""
        return self.with_call.rpartition("probe_user")[2] if self.call_style else ""

    @property
    def shows_calls(self) -> bool:
        """Whether calls and results reach the model, of a request with tools."""
        return self.call_style is not None and RESULT in self.with_call

    @cached_property
    def shows_calls_alone(self) -> bool:
        """The same of a request without: there may be another template for it."""
        style = self.call_style
        if style is None:
            return False
        shown = self.render(_USER, turn(style, call(0, style)), result(0)) or ""
        return VALUE in shown and RESULT in shown

    @cached_property
    def parallel_calls(self) -> bool:
        """Whether one assistant's turn may have several tool calls."""
        style = self.call_style
        if style is None:
            return False
        several = turn(style, call(0, style), call(1, style))
        shown = self.render(_USER, several, result(0), result(1), tools=[TOOL])
        return shown is not None and shown.count(VALUE) > 1

    @cached_property
    def system_role(self) -> bool:
        """Whether there may be a system message."""
        shown = self.render({"role": "system", "content": "probe_system"}, _USER)
        return shown is not None and "probe_system" in shown

    @cached_property
    def consecutive_turns(self) -> bool:
        """Whether a role may speak several times in a row."""
        conversations: Sequence[Sequence[tuple[str, str]]] = (
            (("user", "probe_a"), ("user", "probe_b")),
            (("user", "probe_a"), ("assistant", "probe_b"), ("assistant", "probe_c")),
        )
        for roles in conversations:
            shown = self.render(*({"role": role, "content": text} for role, text in roles))
            if shown is None or not all(text in shown for _, text in roles):
                return False
        return True

    @cached_property
    def consecutive_systems(self) -> bool:
        """Whether several system messages may begin a conversation."""
        texts = ("probe_a", "probe_b")
        shown = self.render(*({"role": "system", "content": text} for text in texts), _USER)
        return shown is not None and all(text in shown for text in texts)


_STYLES = (
    CallStyle(text_arguments=False, null_content=False),
    CallStyle(text_arguments=False, null_content=True),
    CallStyle(text_arguments=True, null_content=False),
    CallStyle(text_arguments=True, null_content=True),
)
