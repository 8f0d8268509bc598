"""The engine: prompts in, text out."""

from __future__ import annotations

import dataclasses
import os
import weakref
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

from ._ffi.channel import TaskChannel, ThreadChannel
from ._ffi.convert import model_params
from .chat.request import ChatRequest
from .config import SamplingParams
from .errors import EmptyPromptError, RequestTooLargeError
from .generation import Generation, arun, ends_by_itself, run
from .grammar import StructuredOutputsParams
from .models.resolve import resolve_model
from .models.shared import lease_model
from .outputs import EngineStats, ModelInfo, RequestOutput
from .prefix import Prefix, prefix_identity, read_prefix
from .prompts import Params, ParamsOrList, PromptLike, Prompts, is_list
from .session import Session
from .streams import AsyncTokenStream, TokenStream

if TYPE_CHECKING:
    from .chat.builder import ChatBuilder

ToolChoiceLike = str | Mapping[str, Any] | None


class Engine:
    """A language model in this process. Many threads and tasks may use one engine.

    Engines of the same files and parameters share one native model. ``close`` is idempotent and
    runs by itself when the engine is dropped and at interpreter exit.

    Args:
        model: a folder with config.json and safetensors, a .gguf file, or a Hugging Face Hub
            repository ("owner/name", or "owner/name/file.gguf" for one file of it).
        device: "auto", "cpu" or "gpu".
        revision: branch, tag or commit of the Hub repository.
        token: Hub token; None uses the one that is logged in.
        cache_dir: where downloads are kept; None is huggingface_hub's folder.
        local_files_only: never download.
        max_model_len: tokens of prompt and output together; None is the model's own limit.
        memory_budget: for weights, KV cache and workspace: bytes, a size like "8GiB", or a share of
            what the machine (or its control group, or a GPU with memory of its own) has, like 0.5;
            None sets no bound. Workspace has room for the logits of max_num_seqs sequences, twice.
        max_num_seqs: sequences that run at once; others wait. None is 256.
        max_num_batched_tokens: tokens of one step; longer prompts are computed in chunks. None is
            256.
        chat_format: how the model writes tool calls and reasoning, see docs/chat-formats.md; None
            takes it from the model's chat template.
        kv_cache_tokens: what the KV cache holds of all requests and prefixes together (SGLang's
            max_total_tokens). None is what memory_budget leaves, or four times max_model_len.
        share: whether equal engines of this process may share the native model.

    The environment variable VLLM_SWIFT_KERNELS (auto, reference, avx2, avx512_vnni, avx512_bf16,
    neon, neon_bf16) forces the kernels of models that are loaded from then on.

    Raises:
        ModelError: the model cannot be found, read or is of an unsupported kind.
        MemoryBudgetError: it does not fit into ``memory_budget``.
        DeviceUnavailableError: the device or the forced kernels are not on this machine.
        LibraryError: the installation is broken; the sentence says what to install.
        InvalidArgumentError: an argument is out of range.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        device: Literal["auto", "cpu", "gpu"] = "auto",
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        max_model_len: int | None = None,
        memory_budget: int | float | str | None = None,
        max_num_seqs: int | None = None,
        max_num_batched_tokens: int | None = None,
        kv_cache_tokens: int | None = None,
        chat_format: str | None = None,
        share: bool = True,
    ) -> None:
        if chat_format is not None:
            from .chat.registry import by_name

            by_name(chat_format)
        params = model_params(
            device,
            max_model_len,
            memory_budget,
            max_num_seqs,
            max_num_batched_tokens,
            kv_cache_tokens,
        )
        path = resolve_model(
            model,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
        name = os.fspath(model)
        self._session = Session(lease_model(path, name, params, share))
        self._finalizer = weakref.finalize(self, self._session.close)
        self._tokenizer = self._session.model.tokenizer
        self._info = dataclasses.replace(self._session.model.info, model=name)
        self._prompts = Prompts(self._session, self._info)
        self._chat_format = chat_format

    # ------------------------------------------------------------------ generation

    @overload
    def generate(  # type: ignore[overload-overlap]  # a str is a sequence of str, and never meant so
        self,
        prompt: PromptLike,
        sampling_params: Params = None,
        *,
        priority: int = 0,
        timeout: float | None = None,
    ) -> RequestOutput: ...

    @overload
    def generate(
        self,
        prompt: Sequence[PromptLike],
        sampling_params: ParamsOrList = None,
        *,
        priority: int = 0,
        timeout: float | None = None,
    ) -> list[RequestOutput]: ...

    def generate(
        self,
        prompt: PromptLike | Sequence[PromptLike],
        sampling_params: ParamsOrList = None,
        *,
        priority: int = 0,
        timeout: float | None = None,
    ) -> RequestOutput | list[RequestOutput]:
        """Continues a prompt, or each of a list of prompts, and waits for the result.

        Args:
            prompt: a text, token ids, or a list of these.
            sampling_params: for all prompts, or one for each.
            priority: lower runs earlier; equal ones in the order of arrival.
            timeout: seconds from submission to the end of each request; None is no limit.

        Raises:
            CallerError: the prompt or a parameter cannot be served; the engine stays usable.
            CapacityError: the request needs more memory than there is.
            RequestTimeoutError: a request had not ended in time; all of this call are cancelled.
            EngineClosedError: the engine is closed, or was while the request ran.
        """
        prompts, many = self._prompts.all(prompt, sampling_params, priority, timeout)
        channel = ThreadChannel(whole=ends_by_itself(prompts))
        outputs = run(Generation(self._session, prompts, channel))
        return outputs if many else outputs[0]

    def stream(
        self,
        prompt: PromptLike,
        sampling_params: Params = None,
        *,
        priority: int = 0,
        timeout: float | None = None,
    ) -> TokenStream:
        """Continues a prompt; iterate over the result for text as it is generated.

        With ``n`` above 1 the chunks of all outputs come mixed; their ``index`` says whose.
        Raises what :meth:`generate` raises, here or while iterating.
        """
        prompts = [self._prompts.one(prompt, sampling_params, priority, timeout)]
        return TokenStream(Generation(self._session, prompts, ThreadChannel()), self)

    @overload
    async def agenerate(  # type: ignore[overload-overlap]
        self,
        prompt: PromptLike,
        sampling_params: Params = None,
        *,
        priority: int = 0,
        timeout: float | None = None,
    ) -> RequestOutput: ...

    @overload
    async def agenerate(
        self,
        prompt: Sequence[PromptLike],
        sampling_params: ParamsOrList = None,
        *,
        priority: int = 0,
        timeout: float | None = None,
    ) -> list[RequestOutput]: ...

    async def agenerate(
        self,
        prompt: PromptLike | Sequence[PromptLike],
        sampling_params: ParamsOrList = None,
        *,
        priority: int = 0,
        timeout: float | None = None,
    ) -> RequestOutput | list[RequestOutput]:
        """:meth:`generate` for asyncio, without threads. Cancelling the task cancels them."""
        prompts, many = self._prompts.all(prompt, sampling_params, priority, timeout)
        channel = TaskChannel(whole=ends_by_itself(prompts))
        outputs = await arun(Generation(self._session, prompts, channel))
        return outputs if many else outputs[0]

    def astream(
        self,
        prompt: PromptLike,
        sampling_params: Params = None,
        *,
        priority: int = 0,
        timeout: float | None = None,
    ) -> AsyncTokenStream:
        """:meth:`stream` for asyncio: an async iterator with ``aclose``. Needs a running loop."""
        prompts = [self._prompts.one(prompt, sampling_params, priority, timeout)]
        return AsyncTokenStream(Generation(self._session, prompts, TaskChannel()), self)

    # ------------------------------------------------------------------ text and tokens

    def tokenize(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Token ids of a text, with the model's begin and end tokens where it wants them."""
        return self._tokenizer.encode(text, add_special_tokens)

    def detokenize(self, token_ids: Sequence[int]) -> str:
        """The text of token ids, without special tokens."""
        ids = self._prompts.token_ids(token_ids)
        return self._tokenizer.decode(ids)

    def render_chat_template(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
        **kwargs: Any,
    ) -> str:
        """The prompt for a conversation, by the model's own template.

        Args:
            messages: ``{"role": ..., "content": ...}``, oldest first.
            add_generation_prompt: end with the start of the assistant's turn.
            kwargs: ``tools``, ``documents`` and what else the template reads.

        Raises:
            UnsupportedError: the model has no chat template.
            InvalidArgumentError: the template refuses the messages; its own words.
        """
        return self._session.model.template.render(
            messages, add_generation_prompt=add_generation_prompt, **kwargs
        )

    def apply_chat_template(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
        **kwargs: Any,
    ) -> list[int]:
        """:meth:`render_chat_template`, tokenized."""
        text = self.render_chat_template(
            messages, add_generation_prompt=add_generation_prompt, **kwargs
        )
        # The template writes the special tokens itself.
        return self.tokenize(text, add_special_tokens=False)

    def chat_request(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        tool_choice: ToolChoiceLike = "auto",
        parallel_tool_calls: bool = True,
        strict: bool | None = None,
        structured_outputs: StructuredOutputsParams | Mapping[str, Any] | None = None,
        add_generation_prompt: bool = True,
        **template_kwargs: Any,
    ) -> ChatRequest:
        """What a conversation asks of :meth:`generate` and :meth:`stream`, and how to read answers.

        Args:
            messages: in OpenAI's form; assistants' may have ``tool_calls`` and
                ``reasoning_content``, tools' a ``tool_call_id``. What the model's template refuses
                or leaves out (a system message, several turns of one role, tool calls) is put where
                it takes it.
            tools: in OpenAI's form.
            tool_choice: "auto", "none" (tools are not shown), "required", or
                ``{"type": "function", "function": {"name": ...}}``.
            parallel_tool_calls: whether an answer may have several calls.
            strict: whether a keyword of a tool's schema that cannot be enforced is refused; None
                leaves it to each tool's own ``strict``.
            structured_outputs: what an answer must be, where it is no tool call. Reasoning may come
                before it.
            add_generation_prompt: end with the start of the assistant's turn.
            template_kwargs: what else the template reads, ``enable_thinking`` for one.

        Raises:
            UnsupportedError: the model has no chat template.
            UnsupportedSchemaError: a strict schema has a keyword that cannot be enforced.
            InvalidArgumentError: messages, tools or tool_choice are not in OpenAI's form, or the
                template refuses the messages; its own words.
        """
        return self._chat.request(
            messages,
            tools=tools,
            tool_choice=tool_choice,
            parallel_tool_calls=parallel_tool_calls,
            strict=strict,
            structured_outputs=structured_outputs,
            add_generation_prompt=add_generation_prompt,
            **template_kwargs,
        )

    @cached_property
    def _chat(self) -> ChatBuilder:
        # Many engines complete text and never chat.
        from .chat.builder import ChatBuilder

        model = self._session.model
        return ChatBuilder(model.template, model.tokenizer, self._chat_format)

    @property
    def chat_format(self) -> str:
        """The name of the model's chat format.

        Raises:
            UnsupportedError: the model has no chat template.
        """
        return self._chat.format.name

    def prefix(self, prompt: PromptLike | Sequence[Mapping[str, Any]]) -> Prefix:
        """Computes the beginning of prompts and keeps it: a text, token ids, or chat messages.

        Raises:
            CallerError: the prompt cannot be served.
            RequestTooLargeError: the KV cache has no room to keep it beside what else runs.
        """
        given: Any = prompt
        if is_list(given) and len(given) and isinstance(given[0], Mapping):
            given = self.apply_chat_template(given, add_generation_prompt=False)
        ids = self.generate(given, SamplingParams(temperature=0, max_tokens=1)).prompt_token_ids
        prefix = Prefix(self, self._session.model.native.pin_prefix(ids), ids)
        if len(ids) - prefix.cached_tokens >= self._info.kv_block_tokens:
            prefix.close()
            raise RequestTooLargeError(
                f"The KV cache kept {prefix.cached_tokens} of the prefix's {len(ids)} tokens "
                "beside other requests. Raise memory_budget, or let fewer requests run at once."
            )
        return prefix

    def load_prefix(self, path: str | os.PathLike[str]) -> Prefix:
        """A prefix that was saved with ``Prefix.save``, without computing it again.

        An engine's first save or load reads the model's files to know their revision.

        Raises:
            PrefixFileError: the file is damaged, or of another model, revision or cache format.
            RequestTooLargeError: the KV cache has no room to keep it.
            OSError: the file cannot be read.
        """
        self._session.require_open()
        ids, contents = read_prefix(path, self.prefix_identity)
        whole = len(ids) // self._info.kv_block_tokens * self._info.kv_block_tokens
        self._prompts.require_fits(ids, room=1)
        native = self._session.model.native.load_prefix(
            self._prompts.token_ids(ids[:whole]), contents
        )
        return Prefix(self, native, ids)

    @cached_property
    def prefix_identity(self) -> dict[str, Any]:
        """What a saved prefix must have been made with to mean something to this engine."""
        path = self._session.model.path
        return prefix_identity(path, self._info.kernels, self._info.kv_block_tokens)

    def logits(self, token_ids: Sequence[int]) -> memoryview[float]:
        """Logits at every position: float32 [len(token_ids), vocab_size].

        Row i predicts token i + 1. Blocks. Beside running requests it goes on by a few rows after
        each of their steps.
        """
        self._session.require_open()
        ids = self._prompts.token_ids(token_ids)
        if not ids:
            raise EmptyPromptError("There are no tokens; give at least one.")
        self._prompts.require_fits(ids, room=0)
        return self._session.model.native.logits(ids, self._info.vocab_size)

    # ------------------------------------------------------------------ state

    @property
    def info(self) -> ModelInfo:
        """The loaded model."""
        return self._info

    def stats(self) -> EngineStats:
        """Counters of the process's runtime, over all its models."""
        self._session.require_open()
        return self._session.runtime.stats()

    def sleep(self) -> None:
        """Frees weights and KV cache until :meth:`wake`, for all engines that share the model.

        Requests that still run end with EngineClosedError; prefixes are lost. What needs the model
        raises EngineAsleepError meanwhile. Harmless when done twice.
        """
        self._session.require_open()
        self._session.model.sleep()

    def wake(self) -> None:
        """Loads what :meth:`sleep` freed. Harmless when awake.

        Raises:
            ModelCorruptError: the model's files have changed.
            ModelError, MemoryBudgetError: as when the engine was opened.
        """
        self._session.require_open()
        self._session.model.wake()

    def close(self) -> None:
        """Ends this engine's requests with EngineClosedError and gives its memory back."""
        self._session.close()
        self._finalizer.detach()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
