"""What a chat format is: how a family of models writes tool calls and reasoning."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from vllm_swift_engine.chat.conversation import Message, in_text, suited, with_system
from vllm_swift_engine.chat.lark import Lark
from vllm_swift_engine.chat.parser import Routine
from vllm_swift_engine.chat.probe import TemplateProbe
from vllm_swift_engine.chat.reader import Markers, Reader, Steps
from vllm_swift_engine.chat.sink import Sink, openai_id

Tool = dict[str, Any]
#: The tools that may be called: their names, and the JSON schemas of their arguments.
Tools = Mapping[str, Mapping[str, Any]]

#: What models write after a marker, and never white space for ever.
SPACE = r"/[ \n]{0,4}/"

TOOLS_PROMPT = """You can call these functions:
{functions}

To call a function, reply with nothing but its name and its arguments, in this form:
{call}
The results come in the next message. When you need no function, reply in plain text."""


class Reasoning(NamedTuple):
    """The markers around a model's reasoning."""

    begin: str
    end: str

    def opened_by(self, prompt: str) -> bool:
        """Whether a prompt ends where reasoning has begun."""
        return prompt.rstrip().endswith(self.begin)


class Function(NamedTuple):
    """A tool as grammars need it."""

    name: str
    #: The JSON schema of its arguments, as llguidance takes it.
    schema: str
    #: Whether what the grammar cannot enforce is refused.
    strict: bool


@dataclass(frozen=True)
class Want:
    """What an answer may be: free text, tool calls, or both."""

    functions: tuple[Function, ...]
    #: Free text instead of calls, or before them.
    text: bool
    #: More than one call.
    several: bool
    #: The expression for an answer without calls; None is any text.
    answer: str | None = None


class ChatFormat(ABC):
    """A family's format; one object for each engine.

    Args:
        probe: the model's template.
        reasoning: the markers of its reasoning, if it has any.
    """

    name: ClassVar[str]
    #: What the parser has to see in the text, even where it is a special token.
    markers: ClassVar[tuple[str, ...]] = ()

    def __init__(self, probe: TemplateProbe, reasoning: Reasoning | None) -> None:
        self.probe = probe
        self.reasoning = reasoning

    @classmethod
    @abstractmethod
    def matches(cls, probe: TemplateProbe) -> bool:
        """Whether a template writes tools or their calls in this format."""

    # ------------------------------------------------------------------ prompts

    def prepare(
        self, messages: list[Message], tools: Sequence[Tool]
    ) -> tuple[list[Message], Sequence[Tool]]:
        """Messages and tools as the template takes them."""
        if any(one["role"] == "tool" or one.get("tool_calls") for one in messages) and not (
            self.probe.shows_calls if tools else self.probe.shows_calls_alone
        ):
            messages = in_text(messages, self.write_calls, self.write_result)
        if tools and not self.probe.knows_tools:
            messages, tools = with_system(messages, self.tools_prompt(tools)), ()
        return suited(messages, self.probe), tools

    def tools_prompt(self, tools: Sequence[Tool]) -> str:
        """What a model is told of its tools where its template tells nothing."""
        example = {"name": "function name", "arguments": {"argument name": "value"}}
        return TOOLS_PROMPT.format(functions=functions_text(tools), call=self.write_call(example))

    def write_calls(self, calls: Sequence[dict[str, Any]]) -> str:
        """Tool calls as this format's models write them; arguments are dicts."""
        return "\n".join(self.write_call(call["function"]) for call in calls)

    @abstractmethod
    def write_call(self, function: Mapping[str, Any]) -> str:
        """One tool call as this format's models write it."""

    def write_result(self, message: Message) -> str:
        """A tool's result, for a user's turn."""
        return f"Result of {message['name'] or 'the tool'}: {message['content']}"

    # ------------------------------------------------------------------ answers

    def is_bare(self, prompt: str) -> bool:
        """Whether an answer without calls is what follows the prompt, nothing before or around."""
        return self.reasoning is None or prompt.rstrip().endswith(self.reasoning.end)

    def reasoning_rule(self, lark: Lark, prompt: str) -> str:
        """The expression for reasoning up to the answer; empty where there is none."""
        if self.reasoning is None or self.is_bare(prompt):
            return ""
        rest = f"{lark.until(self.reasoning.end)} {lark.terminal(SPACE)}"
        if self.reasoning.opened_by(prompt):
            return rest
        return f"({lark.text(self.reasoning.begin)} {rest})?"

    def needed_markers(self, tools: bool) -> tuple[str, ...]:
        """The markers that the parser has to see."""
        return (*(self.reasoning or ()), *(self.markers if tools else ()))

    @abstractmethod
    def grammar(self, lark: Lark, want: Want) -> str:
        """The expression for an answer after its reasoning."""

    @abstractmethod
    def read_answer(self, reader: Reader, sink: Sink, tools: Tools) -> Steps[None]:
        """Reads an answer, reasoning included, to its end; ``tools`` may be none."""

    def routine(self, tools: Tools, thinking: bool) -> Routine:
        """What reads one answer. ``thinking``: the prompt has begun the reasoning."""

        def read(reader: Reader, sink: Sink) -> Steps[None]:
            if thinking:
                yield from self.read_reasoning(reader, sink)
            yield from self.read_answer(reader, sink, tools)

        return read

    def read_reasoning(self, reader: Reader, sink: Sink) -> Steps[None]:
        """Reads reasoning whose first marker was read, with its last one."""
        assert self.reasoning is not None
        sink.think(True)
        ended = yield from reader.until(Markers([self.reasoning.end]), sink.reasoning)
        if ended is not None:
            sink.think(False)

    def new_id(self) -> str:
        """An id for a tool call that has none."""
        return openai_id()


def functions_text(tools: Sequence[Tool]) -> str:
    """The functions as JSON, one a line."""
    return "\n".join(json.dumps(_shown(tool), ensure_ascii=False) for tool in tools)


def _shown(tool: Tool) -> dict[str, Any]:
    function = tool["function"]
    keys = ("name", "description", "parameters")
    return {key: function[key] for key in keys if function.get(key)}


def call_json(function: Mapping[str, Any], arguments_key: str = "arguments") -> str:
    """A call as most models write it: JSON with spaces, its name first."""
    call = {"name": function["name"], arguments_key: function["arguments"]}
    return json.dumps(call, ensure_ascii=False)


def call_rule(lark: Lark, function: Function, arguments_key: str = "arguments") -> str:
    """The rule for :func:`call_json`."""
    name = json.dumps(function.name, ensure_ascii=False)
    head = lark.text(f'{{"name": {name}, "{arguments_key}": ')
    return lark.rule(f"{head} {lark.json(function.schema)} {lark.text('}')}")


def repeated(one: str, between: str, several: bool) -> str:
    """An expression once, or more often with something between."""
    return f"{one} ({between} {one})*" if several else one
