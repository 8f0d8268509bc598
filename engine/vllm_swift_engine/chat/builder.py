"""Makes chat requests for one model: its template, its format, their grammar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from vllm_swift_engine.grammar import StructuredOutputsParams
from vllm_swift_engine.models.template import ChatTemplate
from vllm_swift_engine.models.tokenizer import Tokenizer

from .answer_grammar import answer_grammar
from .conversation import checked
from .formats.base import ChatFormat
from .lark import Lark
from .probe import TemplateProbe
from .registry import by_name, chat_format
from .request import ChatRequest
from .tools import ToolChoice


class ChatBuilder:
    """Of one engine. The format is found out when it is first needed.

    Raises:
        InvalidArgumentError: there is no format of that name.
    """

    def __init__(self, template: ChatTemplate, tokenizer: Tokenizer, name: str | None) -> None:
        self._tokenizer = tokenizer
        self._probe = TemplateProbe(template)
        self._name = name and by_name(name).name

    @cached_property
    def format(self) -> ChatFormat:
        """How the model writes tool calls and reasoning."""
        return chat_format(self._probe, self._tokenizer.added_tokens, self._name)

    def request(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None,
        tool_choice: Any,
        parallel_tool_calls: bool,
        strict: bool | None,
        structured_outputs: StructuredOutputsParams | Mapping[str, Any] | None,
        **variables: Any,
    ) -> ChatRequest:
        """See ``Engine.chat_request``."""
        choice = ToolChoice.of(tools, tool_choice)
        prepared, shown = self.format.prepare(checked(messages), choice.shown)
        if shown:
            variables["tools"] = shown
        prompt = self._probe.template.render(prepared, **variables)
        answer = None
        if structured_outputs is not None:
            answer = StructuredOutputsParams.of(structured_outputs)
        reasoning = self.format.reasoning
        functions = [tool["function"] for tool in choice.allowed]
        return ChatRequest(
            # The template writes the special tokens itself.
            self._tokenizer.encode(prompt, add_special_tokens=False),
            answer_grammar(
                self.format,
                Lark(self._tokenizer.special_tokens),
                prompt,
                choice,
                several=parallel_tool_calls,
                strict=strict,
                answer=answer,
            ),
            not self._hidden_markers(bool(functions)),
            self.format,
            {one["name"]: one.get("parameters") or {} for one in functions},
            reasoning is not None and reasoning.opened_by(prompt),
            self._tokenizer,
        )

    def _hidden_markers(self, tools: bool) -> bool:
        """Whether a marker that the parser needs would be skipped as a special token."""
        markers = self.format.needed_markers(tools)
        return any(marker in self._tokenizer.special_tokens for marker in markers)
