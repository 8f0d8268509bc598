"""Gemma 4: FunctionGemma's calls between other markers."""

from __future__ import annotations

from .functiongemma import FunctionGemmaFormat


class Gemma4Format(FunctionGemmaFormat):
    """``<|tool_call>call:name{key:<|"|>text<|"|>,n:3}<tool_call|>``."""

    name = "gemma4"
    begins = ("<|tool_call>",)
    end = "<tool_call|>"
    mark = '<|"|>'
    markers = (*begins, end, mark)
