"""A model's tokenizer: text to token ids, and what it takes to turn ids into text again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm_swift_engine._ffi.grammars import Vocabulary
from vllm_swift_engine.chat.detokenize import TokenBytes
from vllm_swift_engine.errors import InvalidArgumentError, ModelCorruptError, ModelNotFoundError

from .cache import cache_folder, read_entry, write_entry
from .file import FileIdentity, ModelFile
from .gguf_tokenizer import (
    CONVERTER_VERSION,
    TokenizerMetadata,
    convert_tokenizer,
    tokenizer_config,
)
from .vocabulary import vocabulary_of

if TYPE_CHECKING:
    import tokenizers

_TOKENIZER = "tokenizer.json"
_CONFIG = "tokenizer_config.json"


class Tokenizer:
    """A ``tokenizers.Tokenizer`` with the model's special tokens. Safe to use from many threads.

    Attributes:
        config: the content of ``tokenizer_config.json``.
        stop_token_ids: the tokens that end an output of this model.
        special_tokens: the ids of the tokens that are no text, by their spelling.
        added_tokens: all tokens that are found in a text as they are spelled; special ones too.
    """

    def __init__(
        self, backend: tokenizers.Tokenizer, config: dict[str, Any], stop_token_ids: Sequence[int]
    ) -> None:
        # A limit in the file would cut a prompt in silence.
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self.config = config
        self.stop_token_ids = tuple(stop_token_ids)
        self.token_bytes = TokenBytes(backend)
        added = backend.get_added_tokens_decoder()
        self.special_tokens = {one.content: id for id, one in added.items() if one.special}
        self.added_tokens = frozenset(one.content for one in added.values())

    @cached_property
    def _all_token_bytes(self) -> TokenBytes:
        return TokenBytes(self._backend, skip_special_tokens=False)

    def bytes_for(self, skip_special_tokens: bool) -> TokenBytes:
        """What each token adds to a text, with special tokens or without."""
        return self.token_bytes if skip_special_tokens else self._all_token_bytes

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Token ids of a text; special tokens that are spelled out in it are recognized.

        Raises:
            InvalidArgumentError: not a str, or one that is no valid Unicode text.
        """
        if not isinstance(text, str):
            raise InvalidArgumentError(f"A text to tokenize must be a str, not {text!r}.")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidArgumentError(f"The text is not valid Unicode: {error}.") from None
        encoding = self._backend.encode(text, add_special_tokens=add_special_tokens)
        return list(encoding.ids)

    def vocabulary(self, size: int) -> Vocabulary:
        """Its first ``size`` tokens as grammars need them.

        Raises:
            UnsupportedError: the model names no token that ends an output.
        """
        return vocabulary_of(self._backend, self.token_bytes, self.stop_token_ids, size)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of whole token ids; special tokens are left out."""
        return self._backend.decode(list(tokens), skip_special_tokens=True)


def load_tokenizer(file: ModelFile) -> Tokenizer:
    """The tokenizer of a model folder or a GGUF file.

    A GGUF's is converted when the file is first seen and then read from the cache.

    Raises:
        ModelNotFoundError: a folder without ``tokenizer.json``.
        ModelCorruptError: the tokenizer's files are damaged.
        UnsupportedError: a kind of tokenizer that is not supported yet.
    """
    return _load_gguf(file) if file.is_gguf else _load_folder(file)


def _load_folder(file: ModelFile) -> Tokenizer:
    path = file.path / _TOKENIZER
    if not path.is_file():
        raise ModelNotFoundError(
            f"{file.path} has no {_TOKENIZER}. Models with other tokenizer files need to be "
            "converted first: AutoTokenizer.from_pretrained(folder).save_pretrained(folder)."
        )
    config = read_json(file.path / _CONFIG)
    special = read_json(file.path / "special_tokens_map.json")
    config = {**special, **config}
    backend = _parse(path.read_bytes(), path)
    stops: set[int] = set()
    for source in (read_json(file.path / "generation_config.json"), file.config):
        stops.update(_token_ids(source.get("eos_token_id")))
    eos = backend.token_to_id(token_text(config.get("eos_token")) or "")
    if eos is not None:
        stops.add(eos)
    return Tokenizer(backend, config, sorted(stops))


def _load_gguf(file: ModelFile) -> Tokenizer:
    folder = cache_folder()
    entry = folder / "tokenizers" / _cache_key(file.path) if folder else None
    files = read_entry(entry, (_TOKENIZER, _CONFIG)) if entry else None
    if files is None:
        metadata = TokenizerMetadata.of(file.tokenizer)
        backend = convert_tokenizer(metadata)
        config = tokenizer_config(metadata, file.metadata)
        if entry:
            files = {_TOKENIZER: backend.to_str().encode(), _CONFIG: json.dumps(config).encode()}
            write_entry(entry, files)
    else:
        backend = _parse(files[_TOKENIZER], file.path)
        config = json.loads(files[_CONFIG])
    return Tokenizer(backend, config, config["eos_token_id"])


def _cache_key(path: Path) -> str:
    import hashlib

    identity = (*FileIdentity.of(path), CONVERTER_VERSION)
    return hashlib.sha256(repr(identity).encode()).hexdigest()[:32]


def _parse(content: bytes, path: Path) -> tokenizers.Tokenizer:
    import tokenizers

    try:
        return tokenizers.Tokenizer.from_buffer(content)
    except Exception as error:  # tokenizers raises plain Exception
        raise ModelCorruptError(f"{path} is not a tokenizer: {error}") from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, or an empty one when the file does not exist.

    Raises:
        ModelCorruptError: the file is there and is something else.
    """
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ModelCorruptError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ModelCorruptError(f"{path} must hold a JSON object.")
    return value


def token_text(token: object) -> str | None:
    """A special token's text; configs give it plain or as {"content": text, ...}."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else None


def _token_ids(value: object) -> list[int]:
    values = value if isinstance(value, list) else [value]
    return [token for token in values if isinstance(token, int)]
