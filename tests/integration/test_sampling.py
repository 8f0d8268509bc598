"""Sampling parameters and logprobs, against numpy over the logits of whole sequences."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from tests import tiny_llama
from vllm_swift_engine import Engine, Logprob, SamplingParams
from vllm_swift_engine.errors import InvalidArgumentError, InvalidTokenError

Floats = np.ndarray[Any, np.dtype[np.float64]]
TokenLogprobs = dict[int, Logprob]
VOCABULARY = len(tiny_llama.TOKENS)
END = tiny_llama.TOKENS.index(tiny_llama.END)


@pytest.fixture(scope="module", params=["auto", "reference"])
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("tiny")
    weights = {name: mx.array(array) for name, array in tiny_llama.random_weights().items()}
    tiny_llama.write_folder(folder, weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_SWIFT_KERNELS", request.param)
        engine = Engine(folder, device="cpu")
    with engine:
        yield engine


def logits_of(engine: Engine, tokens: Sequence[int]) -> Floats:
    """[tokens, vocabulary]"""
    return np.asarray(engine.logits(tokens)).astype(np.float64)


def log_softmax(logits: Floats) -> Floats:
    below = logits - logits.max(axis=-1, keepdims=True)
    result: Floats = below - np.log(np.exp(below).sum(axis=-1, keepdims=True))
    return result


def check_logprobs(logits: Floats, tokens: Sequence[int], found: Any, top: int) -> None:
    """`found` has what vLLM documents for the tokens that these rows of logits predict."""
    assert len(found) == len(tokens)
    for row, own, entry in zip(log_softmax(logits), tokens, found, strict=True):
        likely = np.argsort(-row, kind="stable")[:top]
        assert next(iter(entry)) == own
        assert set(entry) == {own, *likely.tolist()}
        for token, logprob in entry.items():
            assert logprob.logprob == pytest.approx(row[token], abs=1e-5)
            assert logprob.rank == int((row >= row[token]).sum())


# ---------------------------------------------------------------- logprobs


@pytest.mark.parametrize("top", [0, 1, 5, 20])
def test_logprobs_are_those_of_the_models_logits(engine: Engine, top: int) -> None:
    prompt = engine.tokenize("hello tide pools")
    params = SamplingParams(
        max_tokens=20,
        temperature=1.3,
        seed=5,
        logprobs=top,
        prompt_logprobs=top,
        presence_penalty=1.5,
        logit_bias={3: 4.0},
    )
    result = engine.generate(prompt, params)
    output = result.outputs[0]
    rows = logits_of(engine, prompt + output.token_ids)
    assert output.logprobs is not None
    assert result.prompt_logprobs is not None
    check_logprobs(rows[len(prompt) - 1 : -1], output.token_ids, output.logprobs, top)
    assert result.prompt_logprobs[0] is None
    check_logprobs(rows[: len(prompt) - 1], prompt[1:], result.prompt_logprobs[1:], top)
    own = [next(iter(entry.values())) for entry in output.logprobs]
    assert output.cumulative_logprob == pytest.approx(sum(one.logprob for one in own))
    for token, one in zip(output.token_ids, own, strict=True):
        assert one.decoded_token == (engine.detokenize([token]) or tiny_llama.END)


def test_who_does_not_ask_gets_none(engine: Engine) -> None:
    result = engine.generate("a", SamplingParams(max_tokens=2))
    assert result.prompt_logprobs is None
    assert (result.outputs[0].logprobs, result.outputs[0].cumulative_logprob) == (None, None)
    (*_, chunk) = engine.stream("a", SamplingParams(max_tokens=2))
    assert chunk.logprobs is None


def test_a_prompt_of_one_token_has_no_logprobs(engine: Engine) -> None:
    assert engine.generate([5], SamplingParams(prompt_logprobs=1)).prompt_logprobs == [None]


def test_streamed_logprobs_are_those_of_the_tokens_they_come_with(engine: Engine) -> None:
    params = SamplingParams(max_tokens=30, seed=1, logprobs=3, prompt_logprobs=2)
    whole = engine.generate("hello", params)
    with engine.stream("hello", params) as stream:
        chunks = list(stream)
    assert stream.prompt_logprobs == whole.prompt_logprobs
    for chunk in chunks:
        assert chunk.logprobs is not None
        assert len(chunk.logprobs) == len(chunk.token_ids)
    joined = [entry for chunk in chunks for entry in chunk.logprobs or ()]
    assert joined == whole.outputs[0].logprobs


def test_a_stop_string_cuts_logprobs_with_the_tokens(engine: Engine) -> None:
    params = SamplingParams(max_tokens=60, seed=3, logprobs=1)
    whole = engine.generate("hello", params).outputs[0]
    stop = whole.text[len(whole.text) // 2]
    cut = engine.generate("hello", SamplingParams(max_tokens=60, seed=3, logprobs=1, stop=stop))
    output = cut.outputs[0]
    assert output.stop_reason == stop
    assert output.logprobs is not None
    assert whole.logprobs is not None
    assert output.token_ids == whole.token_ids[: len(output.token_ids)]
    assert output.logprobs == whole.logprobs[: len(output.token_ids)]


# ---------------------------------------------------------------- what is sampled


def processed(row: Floats, params: SamplingParams, prompt: list[int], output: list[int]) -> Floats:
    """vLLM's V1 order, as its documentation has it; bad words are of one byte a token here."""
    row = row.copy()
    if params.allowed_token_ids is not None:
        row[[t for t in range(len(row)) if t not in params.allowed_token_ids]] = -np.inf
    for word in params.bad_words or ():
        *start, last = [tiny_llama.TOKENS.index(letter) for letter in word]
        if output[len(output) - len(start) :] == start:
            row[last] = -np.inf
    if len(output) < params.min_tokens:
        row[[END, *(params.stop_token_ids or ())]] = -np.inf
    for token, bias in (params.logit_bias or {}).items():
        row[token] += bias
    for token in {*prompt, *output}:
        factor = params.repetition_penalty
        row[token] = row[token] / factor if row[token] > 0 else row[token] * factor
    for token, count in Counter(output).items():
        row[token] -= params.frequency_penalty * count + params.presence_penalty
    return row


CASES: dict[str, dict[str, Any]] = {
    "presence": {"presence_penalty": 2.0},
    "negative presence": {"presence_penalty": -2.0},
    "frequency": {"frequency_penalty": 1.1},
    "repetition": {"repetition_penalty": 1.8},
    "repetition below 1": {"repetition_penalty": 0.7},
    "bias": {"logit_bias": {40: 3.5, 41: 3.5, 42: -100.0}},
    "allowed": {"allowed_token_ids": [50, 51, 52, 53, 54]},
    "bad words": {
        "bad_words": [a + b for a in "abcdefg" for b in "bcdefgij"] + ["aaa", "gag"],
        "allowed_token_ids": [tiny_llama.TOKENS.index(letter) for letter in "abcdefgijm"],
    },
    "minimum": {"min_tokens": 20, "logit_bias": {END: 100.0, 60: 90.0}, "stop_token_ids": [60]},
    "all": {
        "presence_penalty": 0.7,
        "frequency_penalty": 0.4,
        "repetition_penalty": 1.3,
        "bad_words": ["ab", "q"],
        "logit_bias": {70: 4.0},
        "min_tokens": 5,
        "allowed_token_ids": range(30, 200),
    },
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_greedy_output_is_what_the_processed_logits_say(
    engine: Engine, name: str, seed: int
) -> None:
    rng = random.Random(seed)
    prompt = [rng.randrange(1, VOCABULARY) for _ in range(12)]
    params = SamplingParams(temperature=0, max_tokens=24, **CASES[name])
    output = engine.generate(prompt, params).outputs[0]
    rows = logits_of(engine, prompt + output.token_ids)
    for index, token in enumerate(output.token_ids):
        row = rows[len(prompt) - 1 + index]
        row = processed(row, params, prompt, output.token_ids[:index])
        assert row[token] > row.max() - 1e-3, (index, token)
    if name != "minimum":
        plain = engine.generate(prompt, SamplingParams(temperature=0, max_tokens=24)).outputs[0]
        assert output.token_ids != plain.token_ids, "the parameter changes nothing"


def test_min_p_leaves_the_tokens_that_are_likely_enough(engine: Engine) -> None:
    prompt = engine.tokenize("hello tide pools")
    chances = np.exp(log_softmax(logits_of(engine, prompt)[-1]))
    likely = {*np.flatnonzero(chances >= 0.4 * chances.max()).tolist()}

    def drawn(min_p: float) -> set[int]:
        params = SamplingParams(max_tokens=1, min_p=min_p, seed=1, n=300, ignore_eos=True)
        return {one.token_ids[0] for one in engine.generate(prompt, params).outputs}

    assert 1 < len(likely) < VOCABULARY // 2
    assert drawn(0.4) == likely
    assert drawn(0) - likely


def test_end_tokens_wait_for_min_tokens(engine: Engine) -> None:
    biased = {"temperature": 0, "logit_bias": {END: 100.0}, "max_tokens": 9}
    ends = [engine.generate("a", SamplingParams(**biased, min_tokens=n)) for n in (0, 1, 5, 9)]
    assert [end.usage.completion_tokens for end in ends] == [0, 1, 5, 9]
    assert [end.outputs[0].finish_reason for end in ends] == ["stop"] * 3 + ["length"]


def test_ignored_end_tokens_end_nothing_and_stop_tokens_still_do(engine: Engine) -> None:
    biased = SamplingParams(
        temperature=0, logit_bias={END: 100.0}, frequency_penalty=2, ignore_eos=True, max_tokens=9
    )
    output = engine.generate("a", biased).outputs[0]
    assert output.token_ids == [END] * 9
    assert output.finish_reason == "length"
    stopped = SamplingParams(
        temperature=0, logit_bias={END: 100.0}, ignore_eos=True, stop_token_ids=[END]
    )
    assert engine.generate("a", stopped).outputs[0].stop_reason == END


def test_min_tokens_beyond_the_context_fills_it(engine: Engine) -> None:
    result = engine.generate([5] * 100, SamplingParams(max_tokens=None, min_tokens=500))
    assert result.usage.completion_tokens == 28


@pytest.mark.parametrize(
    "fields",
    [
        {"allowed_token_ids": [VOCABULARY]},
        {"logit_bias": {VOCABULARY: 1.0}},
        {"stop_token_ids": [VOCABULARY]},
        {"logit_bias": {2**40: 1.0}},
    ],
)
def test_tokens_outside_the_vocabulary_are_refused(engine: Engine, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidTokenError):
        engine.generate("a", SamplingParams(**fields))


def test_a_request_that_could_run_out_of_tokens_is_refused(engine: Engine) -> None:
    for fields in ({"min_tokens": 1}, {"bad_words": [tiny_llama.END]}):
        with pytest.raises(InvalidArgumentError, match="allowed_token_ids"):
            engine.generate("a", SamplingParams(allowed_token_ids=[END], **fields))


# ---------------------------------------------------------------- in a batch, on the real model


@pytest.fixture(scope="module")
def smollm2_cpu(smollm2: Path) -> Iterator[Engine]:
    with Engine(smollm2, device="cpu", max_model_len=2048) as engine:
        if engine.info.kernels == "reference":
            pytest.skip("stock MLX ops do not promise this")
        yield engine


@pytest.mark.model
def test_logprobs_of_a_long_prompt_on_the_real_model(smollm2_cpu: Engine) -> None:
    rng = random.Random(4)
    prompt = [rng.randrange(20, 49152) for _ in range(300)]
    params = SamplingParams(temperature=0, max_tokens=8, logprobs=2, prompt_logprobs=3)
    result = smollm2_cpu.generate(prompt, params)
    output = result.outputs[0]
    rows = logits_of(smollm2_cpu, prompt + output.token_ids)
    assert result.prompt_logprobs is not None
    check_logprobs(rows[:299], prompt[1:], result.prompt_logprobs[1:], 3)
    check_logprobs(rows[299:-1], output.token_ids, output.logprobs, 2)


def _random_params(rng: random.Random) -> SamplingParams:
    chosen: dict[str, Any] = {
        "presence_penalty": rng.uniform(-2, 2),
        "frequency_penalty": rng.uniform(-2, 2),
        "repetition_penalty": rng.uniform(0.8, 1.5),
        "logit_bias": {rng.randrange(49152): 5.0 for _ in range(5)},
        "bad_words": ["the", "United States", "and"],
        "min_tokens": 10,
        "allowed_token_ids": range(0, 49152, 3),
        "logprobs": rng.randint(0, 5),
        "prompt_logprobs": rng.randint(0, 5),
    }
    names = rng.sample([*chosen], rng.randint(0, 5))
    return SamplingParams(
        max_tokens=rng.randint(10, 24),
        temperature=rng.choice((0.0, 0.8, 1.2)),
        seed=rng.randrange(1 << 40),
        **{name: chosen[name] for name in names},
    )


@pytest.mark.model
@pytest.mark.parametrize("seed", range(4))
def test_a_mixed_batch_gives_every_request_what_it_gets_alone(
    smollm2_cpu: Engine, seed: int
) -> None:
    rng = random.Random(seed)
    prompts = [
        [rng.randrange(20, 49152) for _ in range(rng.choice((1, 31, 64, 250)))] for _ in range(8)
    ]
    params = [_random_params(rng) for _ in prompts]
    alone = [smollm2_cpu.generate(*one) for one in zip(prompts, params, strict=True)]
    together = smollm2_cpu.generate(prompts, params)
    for one, other in zip(alone, together, strict=True):
        assert one.outputs == other.outputs
        assert one.prompt_logprobs == other.prompt_logprobs
