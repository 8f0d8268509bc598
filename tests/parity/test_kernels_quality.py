"""What int8 and bfloat16 activations cost on SmolLM2: the kernels' distribution against float32
activations.

The float32 side is the numpy model of `float_model`, since stock MLX ops take minutes for this much
text; the first two tests tie it to mlx-lm and to our own reference ops.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.utils import load_model

from benchmarks.mlx_folder import convert
from tests.parity.checkpoints import to_bfloat16
from tests.parity.engines import Array, opened, our_logits
from tests.parity.english import windows
from tests.parity.float_model import FloatLlama
from tests.parity.llama_cpp import hidden_states
from vllm_swift_engine import Engine
from vllm_swift_engine.errors import DeviceUnavailableError

pytestmark = [pytest.mark.model, pytest.mark.parity]

WINDOW = 512
SHORT = 48  # tokens, for what runs on stock MLX ops
KERNELS = ("avx512_bf16", "avx512_vnni", "avx2", "neon_bf16", "neon")


@dataclass(frozen=True)
class Cost:
    """Over 4,096 positions; the perplexities over the 4,088 whose next token is in the window."""

    divergence: float  # mean Kullback-Leibler divergence from float32, nats
    agreement: float  # share of positions with the same most likely token
    perplexity: float
    float_perplexity: float


@pytest.fixture(scope="module")
def float_model(smollm2_mlx: Any) -> FloatLlama:
    return FloatLlama(smollm2_mlx)


@pytest.fixture(scope="module")
def reference(smollm2: Path) -> Iterator[Engine]:
    with opened(smollm2, "reference") as engine:
        yield engine


@pytest.fixture(scope="module")
def texts(reference: Engine) -> list[list[int]]:
    tokens = [reference.tokenize(text)[:WINDOW] for text in windows(characters=4000)]
    assert [len(window) for window in tokens] == [WINDOW] * 8
    return tokens


@pytest.fixture(scope="module")
def exact(float_model: FloatLlama, texts: list[list[int]]) -> list[Array]:
    """What the head turns into exact logits, which would take 800 MB."""
    return [float_model.hidden(tokens) for tokens in texts]


@pytest.fixture(scope="module")
def bfloat16_folder(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = convert(smollm2, tmp_path_factory.mktemp("bfloat16"))
    to_bfloat16(folder)
    return folder


@pytest.fixture(scope="module")
def bfloat16_model(bfloat16_folder: Path) -> FloatLlama:
    """Float32 activations and sums; the weights are the folder's."""
    model, _ = load_model(bfloat16_folder)
    model.set_dtype(mx.float32)
    return FloatLlama(model)


@pytest.fixture(scope="module")
def llama_cpp_perplexity(smollm2: Path, float_model: FloatLlama, texts: list[list[int]]) -> float:
    """With a float32 head: its own, which quantizes once more, would be no better."""
    with hidden_states(smollm2, WINDOW) as hidden:
        likelihoods = [
            _likelihood(_log_softmax(float_model.head(hidden(tokens))), tokens) for tokens in texts
        ]
    return math.exp(-sum(likelihoods) / len(likelihoods))


def test_the_float_model_is_mlx_lms(
    float_model: FloatLlama, smollm2_mlx: Any, texts: list[list[int]]
) -> None:
    tokens = texts[0][:SHORT]
    theirs = np.array(smollm2_mlx(mx.array([tokens]))[0])
    np.testing.assert_allclose(float_model.logits(tokens), theirs, atol=1e-3)


def test_the_float_model_is_our_reference(
    float_model: FloatLlama, reference: Engine, texts: list[list[int]]
) -> None:
    tokens = texts[0][:SHORT]
    ours = our_logits(reference, tokens)
    np.testing.assert_allclose(ours, float_model.logits(tokens), atol=1e-3)


@pytest.mark.parametrize("kernels", KERNELS)
def test_kernels_stay_close_to_float_activations(
    kernels: str,
    smollm2: Path,
    float_model: FloatLlama,
    texts: list[list[int]],
    exact: list[Array],
    llama_cpp_perplexity: float,
    record_property: Any,
) -> None:
    cost = _cost(smollm2, kernels, float_model, exact, texts)
    record_property(f"cost of {kernels}", cost)
    assert cost.divergence <= 0.0025, cost
    assert cost.agreement >= 0.97, cost
    assert abs(cost.perplexity / cost.float_perplexity - 1) <= 0.007, cost
    assert cost.perplexity <= 1.001 * llama_cpp_perplexity, (cost, llama_cpp_perplexity)


@pytest.mark.parametrize("kernels", KERNELS)
def test_bfloat16_weights_stay_close_to_float_activations(
    kernels: str,
    bfloat16_folder: Path,
    bfloat16_model: FloatLlama,
    texts: list[list[int]],
    record_property: Any,
) -> None:
    some = texts[:4]
    exact = [bfloat16_model.hidden(tokens) for tokens in some]
    cost = _cost(bfloat16_folder, kernels, bfloat16_model, exact, some)
    record_property(f"cost of bfloat16 by {kernels}", cost)
    divergence, agreement = (2e-4, 0.99) if kernels.endswith("_bf16") else (1e-7, 0.999)
    assert cost.divergence <= divergence, cost
    assert cost.agreement >= agreement, cost
    assert abs(cost.perplexity / cost.float_perplexity - 1) <= 0.002, cost


def _cost(
    model: Path,
    kernels: str,
    float_model: FloatLlama,
    exact: list[Array],
    texts: list[list[int]],
) -> Cost:
    with ExitStack() as stack:
        try:
            engine = stack.enter_context(opened(model, kernels))
        except DeviceUnavailableError:
            pytest.skip(f"this machine has no {kernels}")
        return _summed(
            [
                _compare(float_model.head(hidden), our_logits(engine, tokens), tokens)
                for hidden, tokens in zip(exact, texts, strict=True)
            ]
        )


def _compare(float_logits: Array, logits: Array, tokens: list[int]) -> tuple[float, ...]:
    exact, ours = _log_softmax(float_logits), _log_softmax(logits)
    divergence = np.sum(np.exp(exact) * (exact - ours), axis=-1, dtype=np.float64).mean()
    agreement = np.mean(exact.argmax(-1) == ours.argmax(-1))
    return (
        float(divergence),
        float(agreement),
        _likelihood(ours, tokens),
        _likelihood(exact, tokens),
    )


def _likelihood(log_probabilities: Array, tokens: list[int]) -> float:
    """The mean logarithm of the probability of each token after the first."""
    here, following = np.arange(len(tokens) - 1), np.array(tokens[1:])
    return float(log_probabilities[here, following].mean())


def _summed(windows: list[tuple[float, ...]]) -> Cost:
    divergence, agreement, likelihood, float_likelihood = np.mean(windows, axis=0).tolist()
    return Cost(divergence, agreement, math.exp(-likelihood), math.exp(-float_likelihood))


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted
