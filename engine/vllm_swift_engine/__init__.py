"""A fast language model engine for Apple Silicon and Linux: MLX and Swift behind Python.

>>> from vllm_swift_engine import Engine, SamplingParams
>>> with Engine("HuggingFaceTB/SmolLM2-135M-Instruct") as engine:
...     print(engine.generate("The sky is", SamplingParams(max_tokens=8)).text)
"""

from __future__ import annotations

from .chat.deltas import ChatDelta, ChatMessage, InvalidToolCall, ToolCall, ToolCallDelta
from .chat.request import ChatRequest
from .config import SamplingParams
from .engine import Engine
from .errors import VLLMSwiftError
from .grammar import StructuredOutputsParams
from .outputs import (
    CompletionOutput,
    EngineStats,
    Histogram,
    Logprob,
    ModelInfo,
    RequestOutput,
    StreamChunk,
    Timings,
    Usage,
)
from .prefix import Prefix
from .streams import AsyncTokenStream, TokenStream

__all__ = [
    "AsyncTokenStream",
    "ChatDelta",
    "ChatMessage",
    "ChatRequest",
    "CompletionOutput",
    "Engine",
    "EngineStats",
    "Histogram",
    "InvalidToolCall",
    "Logprob",
    "ModelInfo",
    "Prefix",
    "RequestOutput",
    "SamplingParams",
    "StreamChunk",
    "StructuredOutputsParams",
    "Timings",
    "TokenStream",
    "ToolCall",
    "ToolCallDelta",
    "Usage",
    "VLLMSwiftError",
]
