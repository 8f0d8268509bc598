"""LangChain completion model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseLLM
from langchain_core.outputs import GenerationChunk, LLMResult

from vllm_swift_integrations.langchain.engine_model import STRICT, EngineModel
from vllm_swift_integrations.langchain.outputs import llm_result, text_chunk


class VLLMSwift(EngineModel, BaseLLM):
    """A completion model that runs inside this process.

    ```python
    from vllm_swift_integrations.langchain import VLLMSwift

    llm = VLLMSwift(model="mlx-community/Qwen3-0.6B-4bit", max_tokens=64)
    llm.batch(["The capital of France is", "The capital of Italy is"])
    ```

    The prompts of a batch go to the engine together. No chat template is applied: for a model
    tuned to follow instructions, `ChatVLLMSwift` is the class to use.

    Raises:
        ValidationError: Constructor arguments that are unknown or out of range, by name.
        UnsupportedError: A sampling parameter that is not supported, by name.
        VLLMSwiftError: Whatever else the engine reports, when the model loads or answers.
    """

    model_config = STRICT

    @property
    def _llm_type(self) -> str:
        return "vllm-swift"

    def _generate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        call = self._call(stop, kwargs)
        outputs = self._open(call.model).generate(prompts, call.params, **call.limits)
        return llm_result(outputs, call.model, call.params.logprobs)

    async def _agenerate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        call = self._call(stop, kwargs)
        engine = await self._aopen(call.model)
        outputs = await engine.agenerate(prompts, call.params, **call.limits)
        return llm_result(outputs, call.model, call.params.logprobs)

    def _stream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[GenerationChunk]:
        call = self._stream_call(stop, kwargs)
        with self._open(call.model).stream(prompt, call.params, **call.limits) as pieces:
            for piece in pieces:
                chunk = text_chunk(piece, call.params.logprobs)
                if run_manager:
                    run_manager.on_llm_new_token(piece.text, chunk=chunk)
                yield chunk

    async def _astream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[GenerationChunk]:
        call = self._stream_call(stop, kwargs)
        engine = await self._aopen(call.model)
        async with engine.astream(prompt, call.params, **call.limits) as pieces:
            async for piece in pieces:
                chunk = text_chunk(piece, call.params.logprobs)
                if run_manager:
                    await run_manager.on_llm_new_token(piece.text, chunk=chunk)
                yield chunk
