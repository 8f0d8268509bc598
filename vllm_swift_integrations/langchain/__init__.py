"""LangChain models on the in-process engine."""

from importlib.util import find_spec

if find_spec("langchain_core") is None:
    raise ImportError(
        "LangChain is not installed: run `pip install 'vllm-swift-integrations[langchain]'`."
    )

from vllm_swift_integrations.langchain.chat_models import ChatVLLMSwift
from vllm_swift_integrations.langchain.llms import VLLMSwift

__all__ = ["ChatVLLMSwift", "VLLMSwift"]
