"""Grammars that hold an output: JSON schemas, regexes, choices, Lark and EBNF."""

from __future__ import annotations

from .compile import GrammarSource, grammar_source
from .params import StructuredOutputsParams

__all__ = ["GrammarSource", "StructuredOutputsParams", "grammar_source"]
