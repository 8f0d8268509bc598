"""A ``tokenizers.Tokenizer`` from the tokenizer metadata of a GGUF file.

A GGUF stores vocabulary, merges or scores, and token types, and *names* the rest: the algorithm
(``model``) and the way text is cut before merging (``pre``). The cuts are those of the models' own
published ``tokenizer.json``; names and token types are the GGUF specification's
(https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from vllm_swift_engine.errors import ModelCorruptError, UnsupportedError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: Part of the cache key; raised when a conversion changes.
CONVERTER_VERSION = 2

_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4

_LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2_SPLIT = _LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")
_TEKKEN_SPLIT = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclasses.dataclass(frozen=True)
class _Cut:
    """How text is prepared for byte-level merging."""

    #: None: the pattern of GPT-2.
    split: str | None = None
    digits_apart: bool = False
    nfc: bool = False
    #: A piece that is itself a token is taken whole, whatever its merges.
    ignore_merges: bool = False
    add_bos: bool = False


_GPT2 = _Cut()
_DIGITS = _Cut(digits_apart=True)
_LLAMA3 = _Cut(split=_LLAMA3_SPLIT, ignore_merges=True, add_bos=True)
_QWEN2 = _Cut(split=_QWEN2_SPLIT, nfc=True)
_TEKKEN = _Cut(split=_TEKKEN_SPLIT, ignore_merges=True, add_bos=True)

_CUTS = {
    "default": _GPT2,
    "gpt-2": _GPT2,
    "olmo": _GPT2,
    "smollm": _DIGITS,
    "starcoder": _DIGITS,
    "command-r": _DIGITS,
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "qwen2": _QWEN2,
    "deepseek-r1-qwen": _QWEN2,
    "tekken": _TEKKEN,
}


@dataclasses.dataclass(frozen=True)
class TokenizerMetadata:
    """The ``tokenizer.ggml.*`` keys, each of its type and in range."""

    model: str
    pre: str
    tokens: list[str]
    token_types: list[int]
    merges: list[str] | None
    scores: list[float] | None
    #: "bos", "eos", "eot", "eom", "unknown" and "padding", those that the file has.
    special: dict[str, int]
    add_bos: bool | None
    add_eos: bool
    add_space_prefix: bool

    @classmethod
    def of(cls, data: dict[str, Any]) -> TokenizerMetadata:
        """Checks the metadata.

        Args:
            data: the keys without their prefix: "model", "pre", "tokens", "token_types", "merges",
                "scores", "bos_token_id", ...

        Raises:
            ModelCorruptError: a part is missing or does not fit the others.
        """
        model, tokens = _value(data, "model", str), _list(data, "tokens", str)
        if not model or not tokens:
            raise ModelCorruptError("The GGUF file has no tokenizer (tokenizer.ggml.* metadata).")
        types = _list(data, "token_types", int) or [1] * len(tokens)
        scores = _list(data, "scores", (int, float))
        for key, values in (("token_types", types), ("scores", scores)):
            if values is not None and len(values) != len(tokens):
                raise ModelCorruptError(
                    f"tokenizer.ggml.{key} has {len(values)} entries for {len(tokens)} tokens."
                )
        return cls(
            model=model,
            pre=_value(data, "pre", str) or "default",
            tokens=tokens,
            token_types=types,
            merges=_list(data, "merges", str),
            scores=scores,
            special=_special(data, len(tokens)),
            add_bos=_value(data, "add_bos_token", bool),
            add_eos=_value(data, "add_eos_token", bool) or False,
            add_space_prefix=_value(data, "add_space_prefix", bool) is not False,
        )

    def special_token(self, name: str) -> str | None:
        """The text of a special token, None where the file has none."""
        return self.tokens[self.special[name]] if name in self.special else None

    def of_type(self, *types: int) -> list[str]:
        """The tokens of these types."""
        return [
            token
            for token, kind in zip(self.tokens, self.token_types, strict=True)
            if kind in types
        ]


def _value(data: dict[str, Any], key: str, kind: type[Any]) -> Any:
    value = data.get(key)
    if value is not None and type(value) is not kind:
        raise ModelCorruptError(f"tokenizer.ggml.{key} is {value!r}, not a {kind.__name__}.")
    return value


def _list(data: dict[str, Any], key: str, kind: type[Any] | tuple[type[Any], ...]) -> Any:
    values = _value(data, key, list)
    if values is not None and not all(isinstance(value, kind) for value in values):
        raise ModelCorruptError(f"tokenizer.ggml.{key} has entries of the wrong type.")
    return values


def _special(data: dict[str, Any], size: int) -> dict[str, int]:
    special = {}
    for name in ("bos", "eos", "eot", "eom", "unknown", "padding"):
        index = _value(data, f"{name}_token_id", int)
        if index is None:
            continue
        if not 0 <= index < size:
            raise ModelCorruptError(
                f"tokenizer.ggml.{name}_token_id is {index}, outside the file's {size} tokens."
            )
        special[name] = index
    return special


def convert_tokenizer(data: TokenizerMetadata) -> Tokenizer:
    """The tokenizer that a GGUF file describes.

    Raises:
        UnsupportedError: a "model" or "pre" that is not known here.
        ModelCorruptError: vocabulary and merges or scores do not fit.
    """
    if data.model == "gpt2":
        cut = _cut(data.pre)
        tokenizer, bos_default = _byte_level(data, cut), cut.add_bos
    elif data.model == "llama":
        tokenizer, bos_default = _sentencepiece(data), True
    else:
        raise UnsupportedError(
            f"The tokenizer type {data.model!r} of this GGUF file is not supported yet (gpt2 and "
            "llama are). Use the model's folder with tokenizer.json and safetensors instead."
        )
    _add_tokens(tokenizer, data)
    _add_ends(tokenizer, data, bos_default if data.add_bos is None else data.add_bos)
    return tokenizer


def _cut(pre: str) -> _Cut:
    if pre not in _CUTS:
        raise UnsupportedError(
            f"The pre-tokenizer {pre!r} of this GGUF file is not supported yet (known: "
            f"{', '.join(_CUTS)}). Use the model's folder with tokenizer.json instead."
        )
    return _CUTS[pre]


def _byte_level(data: TokenizerMetadata, cut: _Cut) -> Tokenizer:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    if data.merges is None:
        raise ModelCorruptError("The GGUF file has a gpt2 tokenizer without merges.")
    pairs = [(left, right) for left, _, right in (merge.partition(" ") for merge in data.merges)]
    vocab = {token: index for index, token in enumerate(data.tokens)}
    tokenizer = Tokenizer(_bpe(models.BPE, vocab, pairs, ignore_merges=cut.ignore_merges))
    if cut.nfc:
        tokenizer.normalizer = normalizers.NFC()
    steps: list[Any] = []
    if cut.digits_apart:
        steps.append(pre_tokenizers.Digits(individual_digits=True))
    if cut.split is not None:
        steps.append(pre_tokenizers.Split(Regex(cut.split), behavior="isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=cut.split is None))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _sentencepiece(data: TokenizerMetadata) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, normalizers

    if data.scores is None:
        raise ModelCorruptError("The GGUF file has a llama tokenizer without scores.")
    vocab = {token: index for index, token in enumerate(data.tokens)}
    tokenizer = Tokenizer(
        _bpe(
            models.BPE,
            vocab,
            merges_from_scores(data.tokens, data.scores, vocab),
            byte_fallback=True,
            fuse_unk=True,
            unk_token=data.special_token("unknown") or data.tokens[0],
        )
    )
    spaces = normalizers.Replace(" ", "\u2581")
    # The prefix goes before every stretch of text between special tokens, as in Llama 2.
    prefixed = normalizers.Sequence([normalizers.Prepend("\u2581"), spaces])
    tokenizer.normalizer = prefixed if data.add_space_prefix else spaces
    steps: list[Any] = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    if data.add_space_prefix:
        steps.append(decoders.Strip(" ", 1, 0))
    tokenizer.decoder = decoders.Sequence(steps)
    return tokenizer


def merges_from_scores(
    tokens: list[str], scores: list[float], vocab: dict[str, int]
) -> list[tuple[str, str]]:
    """The merges of a sentencepiece BPE vocabulary, best first.

    Sentencepiece joins the neighbours whose union scores highest, so each way to cut a token in
    two tokens is a merge with that token's score.
    """
    merges: list[tuple[float, int, int, str, str]] = []
    for token, score in zip(tokens, scores, strict=True):
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in vocab and right in vocab:
                merges.append((-score, vocab[left], vocab[right], left, right))
    merges.sort()
    return [(left, right) for *_, left, right in merges]


def _bpe(bpe: Any, vocab: dict[str, int], merges: list[Any], **options: Any) -> Any:
    try:
        return bpe(vocab=vocab, merges=merges, **options)
    except Exception as error:  # tokenizers raises plain Exception
        raise ModelCorruptError(f"The GGUF file's tokenizer is damaged: {error}") from None


def _add_tokens(tokenizer: Tokenizer, data: TokenizerMetadata) -> None:
    from tokenizers import AddedToken

    def added(special: bool, *types: int) -> list[AddedToken]:
        return [
            AddedToken(token, normalized=False, special=special) for token in data.of_type(*types)
        ]

    tokenizer.add_special_tokens(added(True, _UNKNOWN, _CONTROL))
    tokenizer.add_tokens(added(False, _USER_DEFINED))


def _add_ends(tokenizer: Tokenizer, data: TokenizerMetadata, add_bos: bool) -> None:
    """BOS and EOS around a prompt, where the file asks for them."""
    from tokenizers import processors

    bos = data.special_token("bos") if add_bos else None
    eos = data.special_token("eos") if data.add_eos else None
    used = [(text, data.special[name]) for name, text in (("bos", bos), ("eos", eos)) if text]
    if used:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=[part for part in (bos, "$A", eos) if part], special_tokens=used
        )


_TEMPLATE = "tokenizer.chat_template"

#: Tokens that end a turn or a text by their name. A GGUF states one end token, and chat models
#: have two: the turn's and the text's.
_END_TOKENS = frozenset(
    {
        "<|endoftext|>",
        "<|end_of_text|>",
        "<|im_end|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|end|>",
    }
)


def tokenizer_config(data: TokenizerMetadata, metadata: dict[str, Any]) -> dict[str, Any]:
    """What ``tokenizer_config.json`` and ``generation_config.json`` would say of the file.

    Keys: "bos_token", "eos_token", "unk_token", "pad_token" where the file has them,
    "chat_template" (a list of named templates) and "eos_token_id" (a list: every token that ends an
    output).
    """
    config: dict[str, Any] = {
        key: token
        for key, name in (
            ("bos_token", "bos"),
            ("eos_token", "eos"),
            ("unk_token", "unknown"),
            ("pad_token", "padding"),
        )
        if (token := data.special_token(name)) is not None
    }
    ends = {data.special[name] for name in ("eos", "eot", "eom") if name in data.special}
    for index, (token, kind) in enumerate(zip(data.tokens, data.token_types, strict=True)):
        if kind == _CONTROL and token in _END_TOKENS:
            ends.add(index)
    config["eos_token_id"] = sorted(ends)
    templates = [
        {"name": key.removeprefix(_TEMPLATE).removeprefix(".") or "default", "template": text}
        for key, text in metadata.items()
        if (key == _TEMPLATE or key.startswith(f"{_TEMPLATE}.")) and isinstance(text, str) and text
    ]
    return {**config, "chat_template": templates}
