"""The input adapter of the third version: feature-wise scale and shift with a residual network.

Source: notes 004 L72 on.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from reproductions.moleflow.initialisation import empty_linear, generator, start_uniform

KEPT = 0.9  # share of the features themselves that task 0 keeps


class FiLMAdapter(nn.Module):
    """f(x) = h + gate · network(h), h = gamma · LayerNorm(x) + beta; task 0 gives 0.9 x + 0.1 f(x).

    gamma starts at 1, beta at 0, the gate at 0.5; the network is max(D / 2, 128) wide. LayerNorm has no
    factors of its own: gamma and beta would be the same numbers again. It has no inverse.
    """

    def __init__(self, dim: int, *, task: int, seed: int) -> None:
        super().__init__()
        self.is_first = task == 0
        hidden = max(dim // 2, 128)
        self.gamma, self.beta = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))
        self.gate = nn.Parameter(torch.tensor([0.5]))
        self.first, self.second = empty_linear(dim, hidden), empty_linear(hidden, dim)
        for name, linear in (("first", self.first), ("second", self.second)):
            draw = generator(seed, task=task, name=f"adapter.{name}")
            start_uniform(linear.weight, linear.bias, draw=draw)

    def fit(self, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Do nothing: it has no statistics."""

    def changed(self, x: Float[Tensor, "batch row column dim"]) -> Float[Tensor, "batch row column dim"]:
        """Return f(x)."""
        scaled = self.gamma * functional.layer_norm(x, x.shape[-1:]) + self.beta
        return scaled + self.gate * self.second(functional.gelu(self.first(scaled)))

    def forward(self, x: Float[Tensor, "batch row column dim"]) -> Float[Tensor, "batch row column dim"]:
        """Return f(x), on task 0 mostly x."""
        return KEPT * x + (1 - KEPT) * self.changed(x) if self.is_first else self.changed(x)
