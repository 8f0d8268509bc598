"""LangChain's own unit tests of chat models."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.unit_tests import ChatModelUnitTests

from vllm_swift_integrations.langchain import ChatVLLMSwift


class TestChatVLLMSwift(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatVLLMSwift

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "a/model"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"HF_TOKEN": "hf_secret"}, {"model": "a/model"}, {"token": "hf_secret"}

    @pytest.fixture(autouse=True)
    def _loaded_as_one_of_langchains(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """`test_serdes` loads the classes of LangChain's own list; users name ours instead."""
        loading = sys.modules["langchain_core.load.load"]
        listed = loading._get_default_allowed_class_paths("all") | {tuple(ChatVLLMSwift.lc_id())}
        monkeypatch.setattr(loading, "_get_default_allowed_class_paths", lambda _: listed)
