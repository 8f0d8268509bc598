"""LangChain chat model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import Any, cast

from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    CallbackManagerForLLMRun,
    Callbacks,
)
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_config_list

from vllm_swift_integrations.langchain import batching
from vllm_swift_integrations.langchain.engine_model import STRICT, EngineModel
from vllm_swift_integrations.langchain.messages import to_chat
from vllm_swift_integrations.langchain.outputs import chat_chunk, chat_result


class ChatVLLMSwift(EngineModel, BaseChatModel):
    """A chat model that runs inside this process.

    ```python
    from vllm_swift_integrations.langchain import ChatVLLMSwift

    chat = ChatVLLMSwift(model="mlx-community/Qwen3-0.6B-4bit", temperature=0.7, max_tokens=256)
    chat.invoke("Why is the sky blue?").content
    ```

    The model loads at first use, or on entering `with chat:`. Messages are rendered with the
    model's own chat template. Closing a stream, or cancelling the task that awaits an answer,
    cancels the request in the engine. One case is out of its hands: when the sync stream of a chain
    in which a parser follows the model is closed, LangChain reads the model to the end, to trace
    what the parser was given. The chain's `astream` does not.

    Raises:
        ValidationError: Constructor arguments that are unknown or out of range, by name.
        UnsupportedError: A sampling parameter, message or content block that is not supported.
        VLLMSwiftError: Whatever else the engine reports, when the model loads or answers.
    """

    model_config = STRICT

    streaming: bool = False
    """Answer `invoke` through a stream too, so that callbacks see each token."""

    @property
    def _llm_type(self) -> str:
        return "vllm-swift-chat"

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Number of tokens of the messages as the model's chat template renders them."""
        if tools is not None:
            from vllm_swift_engine.errors import UnsupportedError

            raise UnsupportedError("'tools' are not supported: count messages alone.")
        if not messages:
            return 0
        return len(self._open().apply_chat_template(to_chat(messages), add_generation_prompt=False))

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """Answers all inputs as one batch of the engine, or `max_concurrency` of them at a time.

        With `return_exceptions`, an input that fails has its exception in the answer's place.
        """
        if len(inputs) < 2:
            return super().batch(inputs, config, return_exceptions=return_exceptions, **kwargs)
        configs = get_config_list(config, len(inputs))
        ainvoke = partial(self.ainvoke, **kwargs)
        answers = batching.gather(ainvoke, inputs, configs, return_exceptions=return_exceptions)
        # With return_exceptions there may be others among them, which LangChain's type leaves out.
        return cast("list[AIMessage]", batching.run(answers))

    def generate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Callbacks = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Answers several conversations as one batch of the engine."""
        if len(messages) < 2:
            return super().generate(messages, stop, callbacks, **kwargs)
        return batching.run(self.agenerate(messages, stop, callbacks, **kwargs))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        params, chat = self._sampling_params(stop, kwargs), to_chat(messages)
        engine = self._open()
        output = engine.generate(engine.apply_chat_template(chat), params)
        return chat_result(output, self.model, params.logprobs)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        params, chat = self._sampling_params(stop, kwargs), to_chat(messages)
        engine = await self._aopen()
        output = await engine.agenerate(engine.apply_chat_template(chat), params)
        return chat_result(output, self.model, params.logprobs)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        params, chat = self._stream_params(stop, kwargs), to_chat(messages)
        engine = self._open()
        with engine.stream(engine.apply_chat_template(chat), params) as pieces:
            for piece in pieces:
                chunk = chat_chunk(piece, self.model, params.logprobs)
                if run_manager:
                    run_manager.on_llm_new_token(piece.text, chunk=chunk)
                yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        params, chat = self._stream_params(stop, kwargs), to_chat(messages)
        engine = await self._aopen()
        async with engine.astream(engine.apply_chat_template(chat), params) as pieces:
            async for piece in pieces:
                chunk = chat_chunk(piece, self.model, params.logprobs)
                if run_manager:
                    await run_manager.on_llm_new_token(piece.text, chunk=chunk)
                yield chunk
