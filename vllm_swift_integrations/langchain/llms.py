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
        params = self._sampling_params(stop, kwargs)
        return llm_result(self._open().generate(prompts, params), self.model, params.logprobs)

    async def _agenerate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        params = self._sampling_params(stop, kwargs)
        engine = await self._aopen()
        return llm_result(await engine.agenerate(prompts, params), self.model, params.logprobs)

    def _stream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[GenerationChunk]:
        params = self._stream_params(stop, kwargs)
        with self._open().stream(prompt, params) as pieces:
            for piece in pieces:
                chunk = text_chunk(piece, params.logprobs)
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
        params = self._stream_params(stop, kwargs)
        engine = await self._aopen()
        async with engine.astream(prompt, params) as pieces:
            async for piece in pieces:
                chunk = text_chunk(piece, params.logprobs)
                if run_manager:
                    await run_manager.on_llm_new_token(piece.text, chunk=chunk)
                yield chunk
