"""The chat formats there are, and which of them a model's template speaks."""

from __future__ import annotations

import logging
from collections.abc import Collection

from vllm_swift_engine.errors import InvalidArgumentError

from .formats.base import ChatFormat, Reasoning
from .formats.deepseek import DeepSeekV3Format, DeepSeekV31Format
from .formats.functiongemma import FunctionGemmaFormat
from .formats.gemma4 import Gemma4Format
from .formats.granite import GraniteFormat
from .formats.harmony import HarmonyFormat
from .formats.hermes import HermesFormat
from .formats.llama3 import Llama3Format
from .formats.mistral import MistralFormat
from .formats.phi4 import Phi4Format
from .formats.plain import PlainFormat
from .formats.qwen3_coder import Qwen3CoderFormat
from .probe import TemplateProbe

#: In the order in which they are tried; the last is for templates that know no tools.
FORMATS: tuple[type[ChatFormat], ...] = (
    HermesFormat,
    HarmonyFormat,
    Llama3Format,
    MistralFormat,
    Phi4Format,
    GraniteFormat,
    DeepSeekV3Format,
    DeepSeekV31Format,
    Qwen3CoderFormat,
    FunctionGemmaFormat,
    Gemma4Format,
    PlainFormat,
)

_REASONING = (
    Reasoning("<think>", "</think>"),
    Reasoning("[THINK]", "[/THINK]"),
    Reasoning("<|channel>thought", "<channel|>"),
)


def chat_format(
    probe: TemplateProbe, added_tokens: Collection[str], name: str | None = None
) -> ChatFormat:
    """The format of a model's answers.

    Args:
        probe: the model's template.
        added_tokens: tokens of the vocabulary that are spelled as they are.
        name: the format, where it is known better than the template tells.

    A template that knows tools, but calls them in no format there is, gets ``PlainFormat``'s own
    prompt, and a warning says so.

    Raises:
        InvalidArgumentError: there is no format of that name.
        UnsupportedError: the model has no chat template.
    """
    kind = (
        by_name(name)
        if name is not None
        else next((kind for kind in FORMATS if kind.matches(probe)), None)
    )
    if kind is None:
        logging.getLogger(__name__).warning(
            "The model's chat template knows tools, but none of its ways to call them is known "
            "(%s). Tools are told to the model in plain JSON; name a format with chat_format=.",
            ", ".join(format_names()),
        )
        kind = PlainFormat
    return kind(probe, _reasoning(probe, added_tokens))


def by_name(name: str) -> type[ChatFormat]:
    """The format of this name.

    Raises:
        InvalidArgumentError: there is none; the sentence lists those that there are.
    """
    for kind in FORMATS:
        if kind.name == name:
            return kind
    raise InvalidArgumentError(
        f"chat_format={name!r} is not known; there are {', '.join(format_names())}, "
        "and None to take it from the model's template."
    )


def format_names() -> list[str]:
    """All formats' names."""
    return [kind.name for kind in FORMATS]


def _reasoning(probe: TemplateProbe, added_tokens: Collection[str]) -> Reasoning | None:
    """The markers that the template writes or reads, or that are tokens of their own."""
    for markers in _REASONING:
        if markers.end in probe.source or all(marker in added_tokens for marker in markers):
            return markers
    return None
