"""What the chat model and the completion model have in common."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from langchain_core.language_models.base import BaseLanguageModel, LangSmithParams
from langchain_core.runnables import RunnableConfig
from langchain_core.utils import secret_from_env
from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from vllm_swift_integrations.engine_slot import EngineSlot
from vllm_swift_integrations.langchain import batching
from vllm_swift_integrations.langchain.outputs import PROVIDER

if TYPE_CHECKING:
    from types import TracebackType

    from vllm_swift_engine import Engine, SamplingParams

STRICT = ConfigDict(extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True)

_SAMPLING = (
    "n",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "max_tokens",
    "min_tokens",
    "stop",
    "stop_token_ids",
    "ignore_eos",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "logit_bias",
    "allowed_token_ids",
    "bad_words",
    "logprobs",
    "structured_outputs",
)
_LIMITS = ("timeout", "priority")
_ENGINE = (
    "model",
    "device",
    "revision",
    "token",
    "cache_dir",
    "local_files_only",
    "max_model_len",
    "memory_budget",
    "max_num_seqs",
    "max_num_batched_tokens",
    "kv_cache_tokens",
    "share",
)

FolderName = Annotated[
    str, BeforeValidator(lambda path: os.fspath(path) if isinstance(path, os.PathLike) else path)
]


@dataclass(frozen=True, slots=True)
class Call:
    """What a call asks for; checked before anything is opened."""

    model: str
    params: SamplingParams
    limits: dict[str, Any]
    """`timeout` and `priority`, for the engine."""
    prompt: dict[str, Any]
    """What the prompt is made with besides the messages, such as tools."""


class EngineModel(BaseLanguageModel[Any]):
    """Engine options, sampling parameters, and an engine that opens at first use.

    Sampling parameters have vLLM's names and, where they are None, its defaults; `max_tokens`
    None generates up to the end of the context, or of the KV cache where that holds less. Each can
    be given anew in a call, and so can `timeout`, `priority`, and `model`: another model runs
    beside this one, with the same options, until both are closed.
    """

    _ENGINE: ClassVar[tuple[str, ...]] = _ENGINE
    _PROMPT: ClassVar[tuple[str, ...]] = ()
    _UNSUPPORTED: ClassVar[Mapping[str, str]] = {
        "prompt_logprobs": "have no place in LangChain's results: use Engine.generate"
    }

    model: FolderName = Field(validation_alias=AliasChoices("model", "model_name"))
    """A folder, a `.gguf` file, or the id of a repository on the Hugging Face Hub."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    revision: str | None = None
    """Branch, tag or commit of a Hub repository."""
    token: SecretStr | None = Field(
        default_factory=secret_from_env("HF_TOKEN", default=None),
        validation_alias=AliasChoices("token", "api_key"),
    )
    """Access token for the Hub, by default `HF_TOKEN`'s; None uses the one its client is logged in
    with. `api_key` is LangChain's name for it."""
    cache_dir: FolderName | None = None
    """Where Hub files are kept; None uses the Hub client's own cache."""
    local_files_only: bool = False
    """Never reach the network: use what is in the cache or fail."""
    max_model_len: int | None = None
    """Longest prompt plus completion in tokens; None uses the model's own context length."""
    memory_budget: int | float | str | None = None
    """For weights, KV cache and workspace together: bytes, "8GiB", or a share like 0.5."""
    max_num_seqs: int | None = None
    """Sequences that run at once; others wait."""
    kv_cache_tokens: int | None = None
    """What the KV cache holds of all requests together."""
    max_num_batched_tokens: int | None = None
    """Tokens that one step computes at most; longer prompts are computed in chunks."""
    share: bool = True
    """Share weights with the other engines of this model in the process."""

    n: int | None = None
    """Generations for each prompt; more than one cannot be streamed."""
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    min_tokens: int | None = None
    ignore_eos: bool | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    logit_bias: dict[int, float] | None = None
    allowed_token_ids: list[int] | None = None
    bad_words: list[str] | None = None
    logprobs: int | None = None
    """Log probabilities of each token, and of so many most likely ones, in the response metadata
    under "logprobs"; 0 is of the token alone."""
    structured_outputs: dict[str, Any] | None = None
    """A grammar that holds the output, as vLLM has it: one of json, regex, choice, grammar and
    json_object."""

    timeout: float | None = Field(default=None, gt=0)
    """Seconds from submission to the end of a request; then RequestTimeoutError."""
    priority: int = 0
    """Lower runs earlier; equal ones in the order of arrival."""
    max_retries: int | None = Field(default=None, ge=0)
    """One of LangChain's standard parameters. Nothing is ever retried, whatever it is: there is no
    connection that could fail, and what an engine refuses it refuses again."""

    engines: EngineSlot = Field(default_factory=EngineSlot, exclude=True, repr=False)
    """Where this model's engines are; models that are given the same one share them."""

    @model_validator(mode="after")
    def _check_sampling(self) -> Self:
        self._call(None, {})
        return self

    @classmethod
    def is_lc_serializable(cls) -> bool:
        return True

    @property
    def lc_secrets(self) -> dict[str, str]:
        return {"token": "HF_TOKEN"}

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        engine = {name: getattr(self, name) for name in ("model", "revision", "device")}
        return engine | {name: getattr(self, name) for name in _SAMPLING}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        if stop is None and self.stop is not None:
            stop = [self.stop] if isinstance(self.stop, str) else self.stop
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = PROVIDER
        return params

    def get_token_ids(self, text: str) -> list[int]:
        """Token ids of `text` in the model's own vocabulary, without special tokens."""
        if self.custom_get_token_ids is not None:
            return self.custom_get_token_ids(text)
        return self._open().tokenize(text, add_special_tokens=False)

    def batch_as_completed(
        self,
        inputs: Sequence[Any],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> Iterator[tuple[int, Any]]:
        """Answers all inputs as one batch, and yields each one's index and answer as it ends.

        Closing the iterator cancels the requests that still run.
        """
        answer: Any = self.abatch_as_completed  # its overloads want a literal
        answers = answer(inputs, config, return_exceptions=return_exceptions, **kwargs)
        return batching.as_completed(answers)

    def close(self) -> None:
        """Frees the engine; requests in flight end as cancelled. A later call opens it again."""
        self.engines.close()

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied.engines = EngineSlot()
        return copied

    def _open(self, model: str | None = None) -> Engine:
        """The engine of this model, or of another one with the same options."""
        options = self._engine_options(model)
        return self.engines.get(tuple(options.items()), partial(self._new_engine, options))

    async def _aopen(self, model: str | None = None) -> Engine:
        options = self._engine_options(model)
        return await self.engines.aget(tuple(options.items()), partial(self._new_engine, options))

    def _engine_options(self, model: str | None) -> dict[str, Any]:
        options = {name: getattr(self, name) for name in self._ENGINE}
        return options | {"model": model or self.model}

    def _new_engine(self, options: Mapping[str, Any]) -> Engine:
        from vllm_swift_engine import Engine

        given = dict(options)
        if self.token is not None:
            given["token"] = self.token.get_secret_value()
        return Engine(given.pop("model"), **given)

    def _call(self, stop: list[str] | None, arguments: Mapping[str, Any]) -> Call:
        """The fields of this model, overridden by the arguments of a call.

        Raises:
            InvalidArgumentError: A value out of range, or an engine option given in a call.
            UnsupportedError: A parameter that is unknown or not supported, by name.
        """
        from vllm_swift_engine import SamplingParams

        given = dict(arguments)
        given.pop("stream", None)  # LangChain's own switch between _generate and _stream
        named = given.pop("model", None)
        model = self.model if named is None else os.fspath(named)
        limits = {name: given.pop(name, getattr(self, name)) for name in _LIMITS}
        prompt = {name: given.pop(name) for name in self._PROMPT if name in given}
        chosen = {name: getattr(self, name) for name in _SAMPLING} | given
        if stop is not None:
            chosen["stop"] = stop
        self._refuse_unknown(chosen, {field.name for field in fields(SamplingParams)})
        params = SamplingParams(
            **{k: v for k, v in chosen.items() if v is not None or k == "max_tokens"}
        )
        return Call(model, params, limits, prompt)

    def _stream_call(self, stop: list[str] | None, arguments: Mapping[str, Any]) -> Call:
        """The same for a stream, whose chunks LangChain joins to one text."""
        call = self._call(stop, arguments)
        if call.params.n > 1:
            from vllm_swift_engine.errors import UnsupportedError

            raise UnsupportedError(
                f"n={call.params.n} cannot be streamed: its texts would be mixed."
            )
        return call

    def _refuse_unknown(self, arguments: Iterable[str], known: set[str]) -> None:
        from vllm_swift_engine.errors import InvalidArgumentError, UnsupportedError

        for name in arguments:
            if name in self._ENGINE:
                raise InvalidArgumentError(
                    f"{name!r} cannot change from call to call: make a model with it instead."
                )
            if name in self._UNSUPPORTED:
                raise UnsupportedError(f"{name!r} {self._UNSUPPORTED[name]}.")
            if name not in known:
                raise UnsupportedError(
                    f"{name!r} is not supported; a call takes sampling parameters"
                    f"{''.join(f', {name}' for name in (*_LIMITS, *self._PROMPT))}."
                )
