"""LangChain's own tests of what every chat model does, on the real model."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests

from vllm_swift_integrations.demo.__main__ import packaged_model
from vllm_swift_integrations.langchain import ChatVLLMSwift


@pytest.mark.model
class TestChatVLLMSwift(ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatVLLMSwift

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": str(packaged_model()), "temperature": 0, "max_tokens": 20}

    @property
    def has_tool_calling(self) -> bool:
        return False

    @property
    def has_structured_output(self) -> bool:
        return False
