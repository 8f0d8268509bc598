"""Messages in OpenAI's form, made into what a model's template takes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vllm_swift_engine.errors import InvalidArgumentError

from .probe import CallStyle, TemplateProbe

Message = dict[str, Any]


def checked(messages: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Copies of the messages; their contents are never None, results have their tool's name.

    Raises:
        InvalidArgumentError: something is not in OpenAI's form; the sentence names the message.
    """
    if not isinstance(messages, (list, tuple)) or not messages:
        raise InvalidArgumentError(
            'messages must be a list of at least one {"role": ..., "content": ...}, '
            f"not {messages!r:.80}."
        )
    names: dict[str, str] = {}
    result: list[Message] = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise InvalidArgumentError(f"{where} must be a dict with a role, not {message!r:.80}.")
        copy = dict(message)
        if copy["role"] == "developer":
            copy["role"] = "system"
        if copy.get("content") is None:
            copy["content"] = ""
        if calls := copy.pop("tool_calls", None):
            copy["tool_calls"] = [_checked_call(call, where) for call in calls]
            names.update({one["id"]: one["function"]["name"] for one in copy["tool_calls"]})
        if copy["role"] == "tool" and not copy.get("name"):
            copy["name"] = names.get(str(copy.get("tool_call_id")), "")
        result.append(copy)
    return result


def _checked_call(call: Any, where: str) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise InvalidArgumentError(
            f"{where} has a tool call that is not in OpenAI's form "
            f'{{"id", "type", "function": {{"name", "arguments"}}}}: {call!r:.80}.'
        )
    return {
        "id": str(call.get("id") or ""),
        "type": "function",
        "function": {
            "name": function["name"],
            "arguments": _arguments(function.get("arguments"), where),
        },
    }


def _arguments(given: Any, where: str) -> dict[str, Any]:
    if given is None or given == "":
        return {}
    try:
        value = json.loads(given) if isinstance(given, str) else given
    except ValueError as error:
        raise InvalidArgumentError(
            f"{where} has a tool call whose arguments are not JSON: {error}."
        ) from None
    if not isinstance(value, Mapping):
        raise InvalidArgumentError(
            f"{where} has a tool call whose arguments are not a JSON object: {given!r:.80}."
        )
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(
            f"{where} has a tool call whose arguments are not JSON: {error}."
        ) from None
    return dict(value)


def suited(messages: list[Message], probe: TemplateProbe) -> list[Message]:
    """The messages as the template takes them: systems, turns, tool calls.

    What the template would refuse or leave out is put where it takes it.
    """
    messages = _systems(messages, probe)
    if _repeats(messages) and not probe.consecutive_turns:
        messages = _merged(messages)
    if any(message.get("tool_calls") for message in messages) and probe.call_style:
        if not probe.parallel_calls:
            messages = _one_call_each(messages)
        messages = [one for message in messages for one in _styled(message, probe.call_style)]
    return messages


def in_text(
    messages: list[Message],
    write_calls: Callable[[list[dict[str, Any]]], str],
    write_result: Callable[[Message], str],
) -> list[Message]:
    """Tool calls as their turn's text and results as a user's, for templates that show neither."""
    result: list[Message] = []
    after_result = False
    for message in messages:
        is_result = message["role"] == "tool"
        if calls := message.get("tool_calls"):
            message = {key: value for key, value in message.items() if key != "tool_calls"}
            message["content"] = _joined(message["content"], write_calls(calls), "\n")
        elif is_result:
            message = {"role": "user", "content": write_result(message)}
            if after_result:
                # Of parallel calls: one turn of the user's.
                message["content"] = f"{result.pop()['content']}\n{message['content']}"
        result.append(message)
        after_result = is_result
    return result


def with_system(messages: list[Message], text: str) -> list[Message]:
    """The messages with a text added to their system message, which is made if there is none."""
    if messages and messages[0]["role"] == "system":
        return [with_text(messages[0], text), *messages[1:]]
    return [{"role": "system", "content": text}, *messages]


def with_text(message: Message, text: str) -> Message:
    """A message with a text added to its content."""
    return {**message, "content": _joined(message["content"], text)}


def _joined(first: Any, second: Any, between: str = "\n\n") -> Any:
    """Two contents as one: texts, or lists of content parts."""
    if isinstance(first, str) and isinstance(second, str):
        return between.join(part for part in (first, second) if part)
    return [*_parts(first), *_parts(second)]


def _parts(content: Any) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return list(content)


def _systems(messages: list[Message], probe: TemplateProbe) -> list[Message]:
    count = 0
    while count < len(messages) and messages[count]["role"] == "system":
        count += 1
    if count > 1 and not probe.consecutive_systems:
        content = messages[0]["content"]
        for other in messages[1:count]:
            content = _joined(content, other["content"])
        messages = [{**messages[0], "content": content}, *messages[count:]]
        count = 1
    if count and not probe.system_role:
        system, rest = messages[:count], messages[count:]
        if not rest or rest[0]["role"] != "user":
            rest = [{"role": "user", "content": ""}, *rest]
        content = rest[0]["content"]
        for one in reversed(system):
            content = _joined(one["content"], content)
        messages = [{**rest[0], "content": content}, *rest[1:]]
    return messages


def _mergeable(first: Message, second: Message) -> bool:
    return (
        first["role"] == second["role"]
        and first["role"] in ("user", "assistant")
        and not first.get("tool_calls")
    )


def _repeats(messages: Sequence[Message]) -> bool:
    return any(_mergeable(*pair) for pair in itertools.pairwise(messages))


def _merged(messages: Sequence[Message]) -> list[Message]:
    result: list[Message] = []
    for message in messages:
        if result and _mergeable(result[-1], message):
            content = _joined(result[-1]["content"], message["content"])
            message = {**result.pop(), **message, "content": content}
        result.append(message)
    return result


def _one_call_each(messages: Sequence[Message]) -> list[Message]:
    """Each turn of several calls as turns of one, each before its own result."""
    result: list[Message] = []
    waiting: list[Message] = []
    for message in messages:
        calls = message.get("tool_calls") or ()
        if message["role"] == "tool":
            index = next(
                (
                    index
                    for index, turn in enumerate(waiting)
                    if turn["tool_calls"][0]["id"] == message.get("tool_call_id")
                ),
                None,
            )
            if index is not None:
                result.append(waiting.pop(index))
            result.append(message)
            continue
        result += waiting
        waiting = [
            {**message, "content": message["content"] if not index else "", "tool_calls": [call]}
            for index, call in enumerate(calls)
        ]
        if not calls:
            result.append(message)
    return result + waiting


def _styled(message: Message, style: CallStyle) -> list[Message]:
    if not message.get("tool_calls"):
        return [message]
    styled = [dict(message)]
    if style.null_content:
        # Such a template writes a turn's text or its calls, never both.
        text = {key: value for key, value in message.items() if key != "tool_calls"}
        styled = [*([text] if message["content"] else ()), {**message, "content": None}]
    if style.text_arguments:
        styled[-1]["tool_calls"] = [
            {
                **call,
                "function": {
                    **call["function"],
                    "arguments": json.dumps(call["function"]["arguments"], ensure_ascii=False),
                },
            }
            for call in message["tool_calls"]
        ]
    return styled
