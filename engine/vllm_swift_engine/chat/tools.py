"""OpenAI's ``tools`` and ``tool_choice``."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from vllm_swift_engine.errors import InvalidArgumentError

#: What stands in a name in every format, without a mark around it. OpenAI has fewer.
_NAME = re.compile(r"[\w.-]+")


@dataclasses.dataclass(frozen=True)
class ToolChoice:
    """Which tools there are for a request, and which of them may or must be called."""

    #: Shown to the model.
    shown: list[dict[str, Any]]
    #: May be called.
    allowed: list[dict[str, Any]]
    #: Whether one must be.
    required: bool

    @classmethod
    def of(cls, tools: Sequence[Mapping[str, Any]] | None, choice: Any) -> ToolChoice:
        """From OpenAI's ``tools`` and ``tool_choice``.

        Raises:
            InvalidArgumentError: a tool is not in OpenAI's form, the choice is none, or names a
                tool that is not there.
        """
        checked = [_checked_tool(tool, index) for index, tool in enumerate(tools or ())]
        names = [tool["function"]["name"] for tool in checked]
        if len(set(names)) != len(names):
            raise InvalidArgumentError(f"tools has two tools of one name: {', '.join(names)}.")
        if choice == "none" or (not checked and choice in (None, "auto")):
            return cls([], [], False)
        if choice in (None, "auto", "required"):
            if not checked:
                raise InvalidArgumentError(f"tool_choice={choice!r} needs tools, and has none.")
            return cls(checked, checked, choice == "required")
        function = choice.get("function") if isinstance(choice, Mapping) else None
        name = function.get("name") if isinstance(function, Mapping) else None
        if not isinstance(name, str):
            raise InvalidArgumentError(
                'tool_choice must be "auto", "none", "required" or {"type": "function", '
                f'"function": {{"name": ...}}}}, not {choice!r}.'
            )
        if name not in names:
            raise InvalidArgumentError(
                f"tool_choice names {name!r}, and the tools are {', '.join(names) or 'none'}."
            )
        return cls(checked, [checked[names.index(name)]], True)


def _checked_tool(tool: Any, index: int) -> dict[str, Any]:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise InvalidArgumentError(
            f'tools[{index}] must be {{"type": "function", "function": {{"name": ..., '
            f'"description": ..., "parameters": ...}}}}, not {tool!r:.80}.'
        )
    if not _NAME.fullmatch(function["name"]):
        raise InvalidArgumentError(
            f"tools[{index}] is named {function['name']!r}; a name is made of letters, digits, "
            "_, . and -."
        )
    parameters = function.get("parameters")
    if parameters is not None and not isinstance(parameters, Mapping):
        raise InvalidArgumentError(
            f"tools[{index}].function.parameters must be a JSON schema, not {parameters!r:.80}."
        )
    kind = (parameters or {}).get("type", "object")
    if kind != "object" and not (isinstance(kind, list) and "object" in kind):
        raise InvalidArgumentError(
            f"tools[{index}].function.parameters must be the schema of an object, whose properties "
            f"are the arguments, not of type {kind!r:.80}."
        )
    return {**tool, "type": "function", "function": dict(function)}
