"""LangChain models on the in-process engine."""

from vllm_swift_integrations.langchain.chat_models import ChatVLLMSwift
from vllm_swift_integrations.langchain.llms import VLLMSwift

__all__ = ["ChatVLLMSwift", "VLLMSwift"]
