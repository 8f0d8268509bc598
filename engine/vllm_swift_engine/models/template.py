"""The model's own chat template, rendered in jinja2's immutable sandbox.

Templates come from model files, so they are code of strangers. The environment is the one that
Hugging Face's templates are written for (transformers, chat_template_utils): trimmed blocks, the
loop controls, ``tojson`` without HTML escapes, ``raise_exception`` and ``strftime_now``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm_swift_engine.errors import InvalidArgumentError, ModelCorruptError, UnsupportedError

from .tokenizer import read_json, token_text

if TYPE_CHECKING:
    import jinja2

_SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token")


class ChatTemplate:
    """The templates of one model; compiled when first used.

    Args:
        sources: template text by name; "default", and "tool_use" where a model has one for tools.
        special_tokens: "bos_token", "eos_token", ... that templates refer to.
    """

    def __init__(self, sources: Mapping[str, str], special_tokens: Mapping[str, str]) -> None:
        self._sources = dict(sources)
        self._special_tokens = dict(special_tokens)
        self._compiled: dict[str, jinja2.Template] = {}

    @property
    def source(self) -> str:
        """All templates' text."""
        return "\n".join(self._sources.values())

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        **variables: Any,
    ) -> str:
        """The prompt for a conversation.

        Args:
            messages: ``{"role": ..., "content": ...}``, oldest first.
            add_generation_prompt: end with the start of the assistant's turn.
            tools: functions the model may call, as JSON schemas.
            documents: texts the model may quote.
            variables: whatever else the model's template reads.

        Raises:
            UnsupportedError: the model has no chat template.
            InvalidArgumentError: the messages are not what the template wants; its own words.
            ModelCorruptError: the template is not valid jinja2.
        """
        if not isinstance(messages, (list, tuple)) or not all(
            isinstance(message, Mapping) for message in messages
        ):
            raise InvalidArgumentError(
                f'messages must be a list of {{"role": ..., "content": ...}}, not {messages!r:.80}.'
            )
        if not messages:
            raise InvalidArgumentError("messages is empty; a conversation has at least one.")
        template = self._template("tool_use" if tools else "default")
        try:
            return template.render(
                messages=list(messages),
                tools=tools,
                documents=documents,
                add_generation_prompt=add_generation_prompt,
                **{**self._special_tokens, **variables},
            )
        except Exception as error:  # a template is a program, and may fail like any other
            raise InvalidArgumentError(
                f"The model's chat template cannot render these messages: {error}"
            ) from error

    def _template(self, name: str) -> jinja2.Template:
        name = name if name in self._sources else "default"
        if name not in self._sources:
            raise UnsupportedError(
                "The model has no chat template. Use an instruction-tuned model, or format the "
                "prompt yourself and call generate."
            )
        if name not in self._compiled:
            import jinja2

            try:
                self._compiled[name] = self._environment.from_string(self._sources[name])
            except jinja2.TemplateSyntaxError as error:
                raise ModelCorruptError(
                    f"The model's chat template is not valid jinja2: {error}"
                ) from error
        return self._compiled[name]

    @cached_property
    def _environment(self) -> jinja2.Environment:
        from ._jinja import environment

        return environment()


def load_template(path: Path, config: Mapping[str, Any]) -> ChatTemplate:
    """The template of a model folder or a GGUF file.

    A ``chat_template.jinja`` in the folder counts before ``tokenizer_config.json``'s.

    Args:
        path: the model's folder or file.
        config: the content of ``tokenizer_config.json``.
    """
    sources: dict[str, str] = {}
    stated = config.get("chat_template")
    if isinstance(stated, str):
        sources["default"] = stated
    elif isinstance(stated, list):
        for item in stated:
            if isinstance(item, dict) and isinstance(item.get("template"), str):
                sources[str(item.get("name"))] = item["template"]
    sources.update(_folder_templates(path))
    special = {
        name: text for name in _SPECIAL_TOKENS if (text := token_text(config.get(name))) is not None
    }
    return ChatTemplate(sources, special)


def _folder_templates(path: Path) -> dict[str, str]:
    if not path.is_dir():
        return {}
    sources: dict[str, str] = {}
    legacy, main = path / "chat_template.json", path / "chat_template.jinja"
    if main.is_file():
        sources["default"] = _text(main)
    elif legacy.is_file():
        text = read_json(legacy).get("chat_template")
        if isinstance(text, str):
            sources["default"] = text
    for extra in sorted((path / "additional_chat_templates").glob("*.jinja")):
        sources[extra.stem] = _text(extra)
    return sources


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ModelCorruptError(f"{path} is not UTF-8 text: {error}") from None
