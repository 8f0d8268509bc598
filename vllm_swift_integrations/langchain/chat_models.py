"""LangChain chat model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    CallbackManagerForLLMRun,
    Callbacks,
)
from langchain_core.language_models import BaseChatModel, LanguageModelInput, ModelProfile
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import get_config_list

from vllm_swift_integrations.langchain import batching, blocks, structured
from vllm_swift_integrations.langchain.answers import ChatStream, chat_result
from vllm_swift_integrations.langchain.engine_model import STRICT, EngineModel
from vllm_swift_integrations.langchain.messages import to_chat
from vllm_swift_integrations.langchain.profile import model_profile
from vllm_swift_integrations.langchain.questions import Question
from vllm_swift_integrations.langchain.tools import (
    SchemaLike,
    ToolChoice,
    ToolLike,
    openai_choice,
    tool_dicts,
)

if TYPE_CHECKING:
    from vllm_swift_engine import Engine

blocks.register()


class ChatVLLMSwift(EngineModel, BaseChatModel):
    """A chat model that runs inside this process.

    ```python
    from vllm_swift_integrations.langchain import ChatVLLMSwift

    chat = ChatVLLMSwift(model="mlx-community/Qwen3-0.6B-4bit", temperature=0.7, max_tokens=256)
    chat.invoke("Why is the sky blue?").content
    ```

    The model loads at first use, or on entering `with chat:`. Messages are rendered with the
    model's own chat template. Tool calls and structured output are held by a grammar, so they are
    valid whatever the model's size. Closing a stream, or cancelling the task that awaits an answer,
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
    chat_format: str | None = None
    """How the model writes tool calls and reasoning; None detects it from its template."""
    chat_template_kwargs: dict[str, Any] | None = None
    """What else the model's template reads, such as `enable_thinking` of Qwen3's."""

    _ENGINE: ClassVar[tuple[str, ...]] = (*EngineModel._ENGINE, "chat_format")
    _PROMPT: ClassVar[tuple[str, ...]] = (
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "chat_template_kwargs",
    )
    _UNSUPPORTED: ClassVar[Mapping[str, str]] = {
        **EngineModel._UNSUPPORTED,
        "skip_special_tokens": "is what the model's chat format needs it to be",
    }

    @property
    def _llm_type(self) -> str:
        return "vllm-swift-chat"

    def bind_tools(
        self,
        tools: Sequence[ToolLike],
        *,
        tool_choice: ToolChoice | None = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """A model that may call tools. Its calls are always valid by the tools' schemas.

        Args:
            tools: Functions, pydantic classes, TypedDicts, LangChain tools, or schemas.
            tool_choice: "auto" (default), "none", "any", "required" or True, or a tool by its name
                or in OpenAI's form.
            strict: False accepts schemas that no grammar can hold in full, with a warning.
            parallel_tool_calls: False allows one call in an answer.
            kwargs: Arguments of each call, among them `response_format`, for answers without calls.

        Raises:
            InvalidArgumentError: A choice that is none; it names the tools.
            ValueError, UnsupportedError: Something that is no tool, or none that runs here.
        """
        known = tool_dicts(tools, strict)
        if tool_choice is not None:
            kwargs["tool_choice"] = openai_choice(tool_choice, known)
        if parallel_tool_calls is not None:
            kwargs["parallel_tool_calls"] = parallel_tool_calls
        return self.bind(tools=known, **kwargs)

    def with_structured_output(
        self,
        schema: SchemaLike | None = None,
        *,
        method: Literal["json_schema", "function_calling", "json_mode"] = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """A model whose answers are instances of a schema; the engine cannot emit anything else.

        Streamed, dictionaries grow, and an instance of a class comes at the end.

        Args:
            schema: A pydantic class, whose instances come out; or a TypedDict, a JSON schema or an
                OpenAI function, for dictionaries. "json_mode" takes None for any object.
            method: "json_schema", the answer is the object; "function_calling", the arguments of a
                call; "json_mode", any JSON object, which the messages have to describe, and of a
                schema what a grammar can hold of it.
            include_raw: Give {"raw", "parsed", "parsing_error"} and raise no parser's error, but
                where the answer is streamed.
            strict: False accepts schemas that no grammar can hold in full, with a warning, and
                objects with properties that they do not list.
            kwargs: Arguments of each call, such as `temperature`.

        Raises:
            ValueError: No schema of an object, or `strict` with "json_mode".
            UnsupportedSchemaError: When it is called, a keyword that no grammar can hold.
        """
        binding, parser = structured.binding(schema, method, strict)
        told = {"method": method} if method == "json_mode" else {"method": method, "strict": strict}
        traced = {"ls_structured_output_format": {"kwargs": told, "schema": schema}}
        return structured.parsed(self.bind(**{**binding, **traced, **kwargs}), parser, include_raw)

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[ToolLike] | None = None
    ) -> int:
        """Number of tokens of messages and tools as the model's chat template renders them."""
        if not messages:
            return 0
        request = self._open().chat_request(
            to_chat(messages),
            tools=tool_dicts(tools) if tools else None,
            add_generation_prompt=False,
            **(self.chat_template_kwargs or {}),
        )
        return len(request.prompt_token_ids)

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

    def _resolve_model_profile(self) -> ModelProfile:
        return model_profile(self.model, self.max_model_len)

    def _new_engine(self, options: Mapping[str, Any]) -> Engine:
        engine = super()._new_engine(options)
        if options["model"] == self.model:
            known = ModelProfile(max_input_tokens=engine.info.max_model_len)
            self.profile = cast("ModelProfile", {**known, **(self.profile or {})})
        return engine

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        asked = Question(messages, self._call(stop, kwargs), self.chat_template_kwargs)
        engine = self._open(asked.call.model)
        request, params = asked.put_to(engine)
        output = engine.generate(request.prompt_token_ids, params, **asked.call.limits)
        return chat_result(output, request, asked.call.model, params.logprobs)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        asked = Question(messages, self._call(stop, kwargs), self.chat_template_kwargs)
        engine = await self._aopen(asked.call.model)
        request, params = asked.put_to(engine)
        output = await engine.agenerate(request.prompt_token_ids, params, **asked.call.limits)
        return chat_result(output, request, asked.call.model, params.logprobs)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        asked = Question(messages, self._stream_call(stop, kwargs), self.chat_template_kwargs)
        engine = self._open(asked.call.model)
        request, params = asked.put_to(engine)
        answer = ChatStream(request, asked.call.model, params.logprobs)
        with engine.stream(request.prompt_token_ids, params, **asked.call.limits) as pieces:
            for piece in pieces:
                for chunk in answer.chunks(piece):
                    if run_manager:
                        run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        asked = Question(messages, self._stream_call(stop, kwargs), self.chat_template_kwargs)
        engine = await self._aopen(asked.call.model)
        request, params = asked.put_to(engine)
        answer = ChatStream(request, asked.call.model, params.logprobs)
        async with engine.astream(request.prompt_token_ids, params, **asked.call.limits) as pieces:
            async for piece in pieces:
                for chunk in answer.chunks(piece):
                    if run_manager:
                        await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
