"""What a chat model asks of the engine: messages, tools and formats of one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage

from vllm_swift_integrations.langchain.messages import to_chat
from vllm_swift_integrations.langchain.tools import format_outputs, openai_choice, tool_dicts

if TYPE_CHECKING:
    from vllm_swift_engine import Engine, SamplingParams
    from vllm_swift_engine.chat.request import ChatRequest
    from vllm_swift_integrations.langchain.engine_model import Call


_OWN = ("messages", "tools", "tool_choice", "parallel_tool_calls", "strict", "structured_outputs")
"""What a template's own parameters cannot be called: a call has these for itself."""


class Question:
    """A call with its messages and tools; checked before anything is opened."""

    def __init__(
        self, messages: Sequence[BaseMessage], call: Call, template_kwargs: Mapping[str, Any] | None
    ) -> None:
        prompt = dict(call.prompt)
        self.call = _formatted(call, prompt.pop("response_format", None))
        self._chat = to_chat(messages)
        known = tool_dicts(prompt.pop("tools", None) or ())
        choice = openai_choice(prompt.pop("tool_choice", None), known)
        parallel = prompt.pop("parallel_tool_calls", None)
        self._options = {
            "tools": known or None,
            "tool_choice": choice,
            "parallel_tool_calls": parallel is not False,
            "structured_outputs": self.call.params.structured_outputs,
        }
        for more in (template_kwargs, prompt.pop("chat_template_kwargs", None)):
            self._options |= _template_kwargs({} if more is None else more)

    def put_to(self, engine: Engine) -> tuple[ChatRequest, SamplingParams]:
        """The prompt and how it is sampled."""
        request = engine.chat_request(self._chat, **self._options)
        params = replace(
            self.call.params,
            structured_outputs=request.structured_outputs,
            skip_special_tokens=request.skip_special_tokens,
        )
        return request, params


def _template_kwargs(given: Any) -> Mapping[str, Any]:
    from vllm_swift_engine.errors import InvalidArgumentError

    if not isinstance(given, Mapping):
        raise InvalidArgumentError(f"chat_template_kwargs must be a dict, not {given!r:.80}.")
    for name in given:
        if name in _OWN:
            raise InvalidArgumentError(
                f"chat_template_kwargs cannot have {name!r}: it is an argument of its own."
            )
    return given


def _formatted(call: Call, response_format: Any) -> Call:
    outputs = format_outputs(response_format)
    if outputs is None:
        return call
    if call.params.structured_outputs is not None:
        from vllm_swift_engine.errors import InvalidArgumentError

        raise InvalidArgumentError("Give structured_outputs or response_format, not both.")
    # vLLM's parameters take a dictionary and keep what they make of it.
    params: SamplingParams = replace(call.params, structured_outputs=outputs)
    return replace(call, params=params)
