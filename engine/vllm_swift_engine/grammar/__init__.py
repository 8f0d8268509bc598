"""Grammars that hold an output: JSON schemas, regexes, choices, Lark and EBNF."""

from __future__ import annotations

from .params import StructuredOutputsParams
from .source import GrammarSource, grammar_source

__all__ = ["GrammarSource", "StructuredOutputsParams", "grammar_source"]
