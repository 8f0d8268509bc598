"""A tokenizer as grammars need it: the bytes of its tokens, and the merges that make them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vllm_swift_engine._ffi.grammars import Vocabulary
from vllm_swift_engine.chat.detokenize import TokenBytes
from vllm_swift_engine.errors import UnsupportedError

if TYPE_CHECKING:
    import tokenizers


def vocabulary_of(
    backend: tokenizers.Tokenizer, token_bytes: TokenBytes, stops: Sequence[int], size: int
) -> Vocabulary:
    """The first ``size`` tokens, those that the model has.

    Raises:
        UnsupportedError: the model names no token that ends an output.
    """
    ends = [token for token in stops if token < size]
    if not ends:
        raise UnsupportedError(
            "Grammars need a model that names its end token (eos_token_id), and this one has none."
        )
    count = min(size, backend.get_vocab_size())
    state = json.loads(backend.to_str())["model"]
    atoms, merges = _byte_pairs(state, token_bytes, count)
    return Vocabulary([token_bytes.marked(token) for token in range(count)], ends, atoms, merges)


def _byte_pairs(
    state: dict[str, Any], token_bytes: TokenBytes, count: int
) -> tuple[list[int], list[tuple[int, int, int]]]:
    """Atoms and merges of byte-pair encoding; nothing for another kind of tokenizer."""
    affixes = (state.get("continuing_subword_prefix"), state.get("end_of_word_suffix"))
    if state["type"] != "BPE" or any(affixes):
        return [], []
    ids: dict[str, int] = {text: token for text, token in state["vocab"].items() if token < count}
    merges = []
    for merge in state["merges"]:
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        tokens = (ids.get(left), ids.get(right), ids.get(left + right))
        if None not in tokens:
            merges.append(tokens)
    return _atoms(ids, token_bytes), merges  # type: ignore[return-value]  # None was left out


def _atoms(ids: dict[str, int], token_bytes: TokenBytes) -> list[int]:
    if token_bytes.is_byte_level:
        return [token for text, token in ids.items() if len(text) == 1]
    characters = [token for text, token in ids.items() if len(text) == 1]
    bytes_of_others = [token for token in ids.values() if token_bytes.is_byte(token)]
    return characters + bytes_of_others
