"""LangChain's own tests of what every chat model does, on the real model.

What they leave out is what the class truly lacks: images, PDF and audio.
"""

from __future__ import annotations

from typing import Any, Literal

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_tests.integration_tests import ChatModelIntegrationTests

from vllm_swift_integrations.demo.__main__ import packaged_model
from vllm_swift_integrations.langchain import ChatVLLMSwift

Details = Literal[
    "audio_input", "audio_output", "reasoning_output", "cache_read_input", "cache_creation_input"
]


@pytest.fixture(scope="module")
def second_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same model under another name."""
    link = tmp_path_factory.mktemp("models") / "another.gguf"
    link.symlink_to(str(packaged_model()))
    return str(link)


class OneCallAtATime(ChatVLLMSwift):
    """With one call in an answer, where the binding does not say otherwise."""

    def bind_tools(self, *args: Any, **kwargs: Any) -> Any:
        return super().bind_tools(*args, **{"parallel_tool_calls": False, **kwargs})


@pytest.mark.model
class TestChatVLLMSwift(ChatModelIntegrationTests):
    @pytest.fixture(autouse=True)
    def _other_model(self, second_model: str) -> None:
        self._second_model = second_model

    @pytest.fixture
    def model(self, request: pytest.FixtureRequest) -> BaseChatModel:
        # One test wants one call of a tool without arguments. How many of them so small a model
        # makes of its own will hangs on how the CPU at hand rounds.
        one = request.node.name.startswith("test_tool_calling_with_no_arguments")
        kind = OneCallAtATime if one else self.chat_model_class
        parameters = {**self.standard_chat_model_params, **self.chat_model_params}
        return kind(**parameters, **getattr(request, "param", {}))

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatVLLMSwift

    @property
    def chat_model_params(self) -> dict[str, Any]:
        # The penalty ends what the model would say over and over.
        return {
            "model": str(packaged_model()),
            "temperature": 0,
            "frequency_penalty": 0.2,
            "max_tokens": 300,
        }

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"frequency_penalty": 0.5}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def supports_model_override(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return self._second_model

    @property
    def enable_vcr_tests(self) -> bool:
        return True  # nothing goes over HTTP, so there is nothing to record

    @property
    def supported_usage_metadata_details(
        self,
    ) -> dict[Literal["invoke", "stream"], list[Details]]:
        return {"invoke": ["cache_read_input"], "stream": ["cache_read_input"]}

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        chat = ChatVLLMSwift(**self.chat_model_params)
        asked = "Tell me about tide pools. " * 20
        chat.invoke(asked, max_tokens=1)
        if not stream:
            return chat.invoke(asked, max_tokens=1)
        whole = AIMessageChunk("")
        for chunk in chat.stream(asked, max_tokens=1):
            whole += chunk
        return whole
