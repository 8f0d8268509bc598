"""From what a caller gives to what is submitted."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from ._ffi.convert import Prompt, int32_array, priority_of, timeout_us
from ._ffi.grammars import NativeGrammar
from .config import SamplingParams
from .errors import (
    EmptyPromptError,
    InvalidArgumentError,
    InvalidTokenError,
    PromptTooLongError,
)
from .grammar import StructuredOutputsParams, grammar_source
from .models.bad_words import bad_word_tokens
from .outputs import ModelInfo
from .session import Session

PromptLike = str | Sequence[int]
Params = SamplingParams | None
ParamsOrList = SamplingParams | Sequence[SamplingParams] | None


class Prompts:
    """Makes requests of one model's prompts, and refuses what it could not serve.

    Raises, in each method:
        CallerError: what is wrong with a prompt or a parameter.
    """

    def __init__(self, session: Session, info: ModelInfo) -> None:
        self._session, self._info = session, info
        self._tokenizer = session.model.tokenizer

    def all(
        self,
        prompt: PromptLike | Sequence[PromptLike],
        params: ParamsOrList,
        priority: int,
        timeout: float | None,
    ) -> tuple[list[Prompt], bool]:
        """What to submit, and whether the caller gave a list of prompts."""
        given: Any = prompt
        if isinstance(given, str) or not is_list(given) or not len(given) or _is_token(given[0]):
            return [self.one(given, params, priority, timeout)], False
        if params is None or isinstance(params, SamplingParams):
            params = [params or SamplingParams()] * len(given)
        if len(params) != len(given):
            raise InvalidArgumentError(
                f"There are {len(given)} prompts but {len(params)} sampling_params."
            )
        pairs = zip(given, params, strict=True)
        return [self.one(one, its, priority, timeout) for one, its in pairs], True

    def one(self, prompt: Any, params: Any, priority: int, timeout: float | None) -> Prompt:
        """What to submit for one prompt, all of it checked."""
        params = SamplingParams() if params is None else params
        if not isinstance(params, SamplingParams):
            raise InvalidArgumentError(f"sampling_params must be SamplingParams, not {params!r}.")
        if not isinstance(prompt, str) and not is_list(prompt):
            raise InvalidArgumentError(f"A prompt is a str or token ids, not {prompt!r}.")
        if len(prompt) == 0:
            raise EmptyPromptError("The prompt is empty; give at least one token.")
        ids = self._tokenizer.encode(prompt) if isinstance(prompt, str) else self.token_ids(prompt)
        if not ids:
            raise EmptyPromptError(f"The prompt {prompt!r} has no tokens.")
        self.require_fits(ids, room=1)
        for tokens in (params.stop_token_ids, params.allowed_token_ids, params.logit_bias):
            self._vocabulary_only([*(tokens or ())])
        own = [token for token in self._tokenizer.stop_token_ids if token < self._info.vocab_size]
        held = self._info.kv_blocks * self._info.kv_block_tokens
        left = max(1, min(self._info.max_model_len, held) - len(ids))
        return Prompt(
            ids,
            params,
            max(left, params.min_tokens) if params.max_tokens is None else params.max_tokens,
            own,
            bad_word_tokens(params.bad_words or (), self._tokenizer),
            priority_of(priority),
            timeout_us(timeout),
            self._grammar(params),
        )

    def _grammar(self, params: SamplingParams) -> NativeGrammar | None:
        if params.structured_outputs is None:
            return None
        # A dict was made one of these when the parameters were checked.
        assert isinstance(params.structured_outputs, StructuredOutputsParams)
        self._session.require_open()
        return self._session.model.grammar(grammar_source(params.structured_outputs))

    def token_ids(self, tokens: Sequence[int]) -> list[int]:
        """Ids that are in the vocabulary."""
        return self._vocabulary_only(int32_array(tokens))

    def _vocabulary_only(self, tokens: Sequence[int]) -> list[int]:
        size = self._info.vocab_size
        for token in tokens:
            if not 0 <= token < size:
                raise InvalidTokenError(
                    f"Token id {token} is outside the vocabulary of {size} tokens."
                )
        return list(tokens)

    def require_fits(self, ids: Sequence[int], room: int) -> None:
        """Raises PromptTooLongError where the context has no place for ids and ``room`` more."""
        limit = self._info.max_model_len
        if len(ids) + room > limit:
            raise PromptTooLongError(
                f"The prompt has {len(ids)} tokens and the context holds {limit}"
                f"{', output included' if room else ''}. Shorten the prompt"
                ", or open the engine with a larger max_model_len if the model allows it."
            )


def is_list(value: object) -> bool:
    """Whether a value can be token ids or prompts: a list, a tuple, an array."""
    return hasattr(value, "__getitem__") and not isinstance(value, (str, bytes, Mapping))


def _is_token(value: Any) -> bool:
    try:
        operator.index(value)
    except TypeError:
        return False
    return True
