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
CONVERTER_VERSION = 1

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


def convert_tokenizer(data: dict[str, Any]) -> Tokenizer:
    """The tokenizer that ``tokenizer.ggml.*`` metadata describes.

    Args:
        data: the keys without their prefix: "model", "pre", "tokens", "token_type", "merges",
            "scores", "bos_token_id", ...

    Raises:
        UnsupportedError: a "model" or "pre" that is not known here.
        ModelCorruptError: a part is missing or does not fit the others.
    """
    model = data.get("model")
    if model not in ("gpt2", "llama"):
        raise UnsupportedError(
            f"The tokenizer type {model!r} of this GGUF file is not supported yet (gpt2 and llama "
            "are). Use the model's folder with tokenizer.json and safetensors instead."
        )
    tokens = data.get("tokens")
    if not isinstance(tokens, list) or not tokens:
        raise ModelCorruptError("The GGUF file has no tokenizer.ggml.tokens.")
    types = token_types(data)
    if len(types) != len(tokens):
        raise ModelCorruptError(
            f"The GGUF file has {len(tokens)} tokens but {len(types)} token types."
        )
    tokenizer = _byte_level(data) if model == "gpt2" else _sentencepiece(data)
    _add_tokens(tokenizer, tokens, types)
    _add_ends(tokenizer, data)
    return tokenizer


def token_types(data: dict[str, Any]) -> list[int]:
    """GGUF's token types: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte."""
    types = data.get("token_type") or data.get("token_types")
    return types if isinstance(types, list) else [1] * len(data["tokens"])


def _byte_level(data: dict[str, Any]) -> Tokenizer:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    cut = _cut(data)
    merges = data.get("merges")
    if not isinstance(merges, list):
        raise ModelCorruptError("The GGUF file has a gpt2 tokenizer without merges.")
    pairs = [tuple(merge.split(" ", 1)) for merge in merges]
    vocab = {token: index for index, token in enumerate(data["tokens"])}
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


def _cut(data: dict[str, Any]) -> _Cut:
    name = data.get("pre", "default")
    if name not in _CUTS:
        raise UnsupportedError(
            f"The pre-tokenizer {name!r} of this GGUF file is not supported yet (known: "
            f"{', '.join(_CUTS)}). Use the model's folder with tokenizer.json instead."
        )
    return _CUTS[name]


def _sentencepiece(data: dict[str, Any]) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, normalizers

    tokens, scores = data["tokens"], data.get("scores")
    if not isinstance(scores, list) or len(scores) != len(tokens):
        raise ModelCorruptError("The GGUF file's llama tokenizer has not one score for each token.")
    vocab = {token: index for index, token in enumerate(tokens)}
    unknown = data.get("unknown_token_id", 0)
    tokenizer = Tokenizer(
        _bpe(
            models.BPE,
            vocab,
            merges_from_scores(tokens, scores, vocab),
            byte_fallback=True,
            fuse_unk=True,
            unk_token=_token(tokens, unknown, "unknown_token_id"),
        )
    )
    prefix = data.get("add_space_prefix", True)
    spaces = normalizers.Replace(" ", "\u2581")
    # The prefix goes before every stretch of text between special tokens, as in Llama 2.
    tokenizer.normalizer = (
        normalizers.Sequence([normalizers.Prepend("\u2581"), spaces]) if prefix else spaces
    )
    steps: list[Any] = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    if prefix:
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


def _add_tokens(tokenizer: Tokenizer, tokens: list[str], types: list[int]) -> None:
    from tokenizers import AddedToken

    special = [
        AddedToken(token, normalized=False, special=True)
        for token, kind in zip(tokens, types, strict=True)
        if kind in (_UNKNOWN, _CONTROL)
    ]
    plain = [
        AddedToken(token, normalized=False, special=False)
        for token, kind in zip(tokens, types, strict=True)
        if kind == _USER_DEFINED
    ]
    tokenizer.add_special_tokens(special)
    tokenizer.add_tokens(plain)


def _add_ends(tokenizer: Tokenizer, data: dict[str, Any]) -> None:
    """BOS and EOS around a prompt, where the file asks for them."""
    from tokenizers import processors

    sentencepiece = data["model"] == "llama"
    bos_default = sentencepiece or _cut(data).add_bos
    template, ends = "$A", []
    if data.get("add_bos_token", bos_default) and data.get("bos_token_id") is not None:
        bos = _token(data["tokens"], data["bos_token_id"], "bos_token_id")
        template, ends = f"{bos} {template}", [(bos, data["bos_token_id"])]
    if data.get("add_eos_token", False) and data.get("eos_token_id") is not None:
        eos = _token(data["tokens"], data["eos_token_id"], "eos_token_id")
        template, ends = f"{template} {eos}", [*ends, (eos, data["eos_token_id"])]
    if ends:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=ends
        )


def _token(tokens: list[str], index: object, key: str) -> str:
    if not isinstance(index, int) or not 0 <= index < len(tokens):
        raise ModelCorruptError(
            f"tokenizer.ggml.{key} is {index!r}, outside the file's {len(tokens)} tokens."
        )
    return tokens[index]


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


def tokenizer_config(data: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    """What ``tokenizer_config.json`` and ``generation_config.json`` would say of the file.

    Keys: "bos_token", "eos_token", "unk_token", "pad_token" where the file has them,
    "chat_template" and "eos_token_id" (a list: every token that ends an output).
    """
    tokens, types = data["tokens"], token_types(data)
    config: dict[str, Any] = {}
    for name, key in (
        ("bos_token", "bos_token_id"),
        ("eos_token", "eos_token_id"),
        ("unk_token", "unknown_token_id"),
        ("pad_token", "padding_token_id"),
    ):
        if data.get(key) is not None:
            config[name] = _token(tokens, data[key], key)
    ends = {
        data[key]
        for key in ("eos_token_id", "eot_token_id", "eom_token_id")
        if data.get(key) is not None
    }
    for index, (token, kind) in enumerate(zip(tokens, types, strict=True)):
        if kind == _CONTROL and token in _END_TOKENS:
            ends.add(index)
    config["eos_token_id"] = sorted(ends)
    template = metadata.get("tokenizer.chat_template")
    if template:
        config["chat_template"] = template
    return config
