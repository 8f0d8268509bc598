"""A Llama in numpy and float32: the oracle where mlx-lm is too slow.

Written after the paper's equations (Touvron et al. 2023, arXiv:2302.13971; rotary embedding after
Su et al. 2021, arXiv:2104.09864, with the two halves of a head rotated against each other, as in
Hugging Face's checkpoints). MLX's CPU backend multiplies matrices on one thread and without a fast
BLAS on Linux; numpy's does 4,096 tokens of a small model in seconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mlx.utils import tree_flatten
from mlx_lm.utils import dequantize_model

Array = np.ndarray[Any, np.dtype[np.float32]]


class FloatLlama:
    """The weights of a loaded mlx-lm Llama without rope scaling, dequantized to float32."""

    def __init__(self, model: Any) -> None:
        self.args = model.args
        parameters = tree_flatten(dequantize_model(model).parameters())
        self.weights = {name: np.array(value, np.float32) for name, value in parameters}

    def logits(self, tokens: list[int]) -> Array:
        """Logits at every position: [len(tokens), vocabulary]."""
        return self.head(self.hidden(tokens))

    def head(self, hidden: Array) -> Array:
        """[tokens, hidden] to logits."""
        embeddings = self.weights["model.embed_tokens.weight"]
        logits: Array = hidden @ self.weights.get("lm_head.weight", embeddings).T
        return logits

    def hidden(self, tokens: list[int]) -> Array:
        """What the head is applied to: [len(tokens), hidden]."""
        weights = self.weights
        h = weights["model.embed_tokens.weight"][tokens]  # [tokens, hidden]
        for layer in range(self.args.num_hidden_layers):
            w = _Layer(weights, f"model.layers.{layer}.")
            h = h + self._attention(self._norm(h, w["input_layernorm"]), w)
            x = self._norm(h, w["post_attention_layernorm"])
            gate = x @ w["mlp.gate_proj"].T
            up = x @ w["mlp.up_proj"].T
            h = h + (gate / (1 + np.exp(-gate)) * up) @ w["mlp.down_proj"].T
        return self._norm(h, weights["model.norm.weight"])

    def _norm(self, x: Array, weight: Array) -> Array:
        mean = np.mean(np.square(x), axis=-1, keepdims=True)
        result: Array = x / np.sqrt(mean + np.float32(self.args.rms_norm_eps)) * weight
        return result

    def _attention(self, x: Array, w: _Layer) -> Array:
        tokens = len(x)
        kv_heads = self.args.num_key_value_heads
        q = self._rotated(x @ w["self_attn.q_proj"].T)  # [heads, tokens, dim]
        k = self._rotated(x @ w["self_attn.k_proj"].T)
        v = (x @ w["self_attn.v_proj"].T).reshape(tokens, kv_heads, -1).swapaxes(0, 1)
        group = len(q) // kv_heads
        k, v = np.repeat(k, group, axis=0), np.repeat(v, group, axis=0)
        scores = q @ k.swapaxes(1, 2) / np.float32(np.sqrt(q.shape[-1]))
        visible = np.tri(tokens, dtype=bool)
        if self.args.sliding_window is not None:
            visible &= ~np.tri(tokens, k=-self.args.sliding_window, dtype=bool)
        scores[:, ~visible] = -np.inf
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = scores / scores.sum(axis=-1, keepdims=True) @ v
        result: Array = mixed.swapaxes(0, 1).reshape(tokens, -1) @ w["self_attn.o_proj"].T
        return result

    def _rotated(self, x: Array) -> Array:
        """[tokens, heads * dim], rotated by position, as [heads, tokens, dim]."""
        dim = self.args.head_dim or self.args.hidden_size // self.args.num_attention_heads
        heads = x.reshape(len(x), -1, dim).swapaxes(0, 1)
        frequencies = self.args.rope_theta ** (-np.arange(0, dim, 2) / dim)
        angles = np.outer(np.arange(len(x)), frequencies)
        cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
        first, second = np.split(heads, 2, axis=-1)
        turned: Array = np.concatenate(
            [first * cos - second * sin, first * sin + second * cos], axis=-1
        )
        return turned


class _Layer:
    def __init__(self, weights: dict[str, Array], prefix: str) -> None:
        self._weights = weights
        self._prefix = prefix

    def __getitem__(self, name: str) -> Array:
        return self._weights[f"{self._prefix}{name}.weight"]
