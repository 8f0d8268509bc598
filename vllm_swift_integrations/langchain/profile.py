"""What a model can do, as LangChain's agents ask for it."""

from __future__ import annotations

import json
from pathlib import Path

from langchain_core.language_models import ModelProfile

_ANY = ModelProfile(
    text_inputs=True,
    text_outputs=True,
    image_inputs=False,
    image_url_inputs=False,
    image_tool_message=False,
    pdf_inputs=False,
    pdf_tool_message=False,
    audio_inputs=False,
    video_inputs=False,
    image_outputs=False,
    audio_outputs=False,
    video_outputs=False,
    attachment=False,
    temperature=True,
    open_weights=True,
    # Of every model: a grammar holds calls and answers.
    tool_calling=True,
    tool_choice=True,
    tool_call_streaming=True,
    structured_output=True,
)


def model_profile(model: str, max_model_len: int | None) -> ModelProfile:
    """What is known of a model that is not loaded.

    `max_input_tokens` is among it where the caller has set the context's length, or the model is a
    folder, whose config says it.
    """
    known = max_model_len or _context_length(Path(model))
    return ModelProfile(**_ANY) if known is None else ModelProfile(**_ANY, max_input_tokens=known)


def _context_length(folder: Path) -> int | None:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        length = config.get("max_position_embeddings")
    except (OSError, ValueError, AttributeError):
        return None  # no folder of a model: the engine will say what is wrong with it
    return length if isinstance(length, int) else None
