"""What the native engine compiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .params import StructuredOutputsParams


@dataclass(frozen=True)
class GrammarSource:
    """A grammar in llguidance's terms: what ``llg_new_matcher`` takes."""

    kind: Literal["json_schema", "regex", "lark"]
    text: str


def grammar_source(params: StructuredOutputsParams) -> GrammarSource:
    """The grammar of a request.

    Raises:
        InvalidGrammarError: it cannot be read, or no output satisfies it.
        UnsupportedSchemaError: in strict mode, a keyword of the schema cannot be enforced.
    """
    # Most programs never ask for one, and schemas and regexes take long to import.
    from .compile import compiled

    return compiled(params)
