"""What `structured` measures: answers that are held to a JSON schema, and the same without."""

from __future__ import annotations

import json
import time
from abc import abstractmethod
from typing import Any

from benchmarks.engines import Opened, Unavailable

TOKENS = 640  # an answer by `schema` ends before, also with whitespace
FREE_TOKENS = 160
KINDS: tuple[dict[str, Any], ...] = (
    {"type": "string", "maxLength": 24},
    {"type": "integer", "minimum": 0, "maximum": 9999},
    {"type": "boolean"},
    {"enum": ["unknown", "low", "medium", "high"]},
)
FIELDS = (
    *("family_name", "year_of_birth", "is_registered", "risk_category"),
    *("given_name", "number_of_children", "has_insurance", "income_category"),
    *("street_address", "postal_code", "is_homeowner", "education_level"),
    *("current_employer", "years_of_employment", "works_remotely", "satisfaction_level"),
    *("preferred_language", "account_balance", "accepts_marketing", "loyalty_level"),
)


def schema(seed: int = 0) -> dict[str, Any]:
    """Twenty fields in an order; each seed names one of them anew."""
    names = [f"{FIELDS[0]}_{seed}" if seed else FIELDS[0], *FIELDS[1:]]
    return {
        "type": "object",
        "properties": {name: KINDS[index % len(KINDS)] for index, name in enumerate(names)},
        "required": names,
        "additionalProperties": False,
    }


def question(number: int) -> list[dict[str, str]]:
    asked = f"Write the record of customer {1000 + number} as a JSON object."
    return [{"role": "user", "content": asked}]


class Structured(Opened):
    """One engine in a process of its own; greedy, JSON without spaces."""

    @abstractmethod
    def answers(self, numbers: list[int], held: bool, tokens: int) -> list[tuple[str, int]]:
        """Asks all questions at once; returns the answers and how many tokens each has."""

    def json(self, streams: int, seed: int) -> float:
        """Tokens per second of answers by `schema`, each of them whole."""
        numbers = [seed * streams + row for row in range(streams)]
        start = time.perf_counter()
        answers = self.answers(numbers, True, TOKENS)
        elapsed = time.perf_counter() - start
        for text, _ in answers:
            if [*json.loads(text)] != [*FIELDS]:
                raise Unavailable(f"an answer does not follow the schema: {text}")
        return sum(tokens for _, tokens in answers) / elapsed

    def free(self, streams: int, seed: int) -> float:
        """Tokens per second of free answers about as long."""
        numbers = [seed * streams + row for row in range(streams)]
        start = time.perf_counter()
        answers = self.answers(numbers, False, FREE_TOKENS)
        elapsed = time.perf_counter() - start
        return sum(tokens for _, tokens in answers) / elapsed
