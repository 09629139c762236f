"""The input adapter of the first two versions: channels standardised over an image, plus a small network.

Source: notes 004 L7 (instance normalisation, a network that starts at zero; hidden width a quarter), L82.
"""

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from reproductions.moleflow.initialisation import empty_linear, generator, start_uniform, start_zero

SMALL = 1e-5  # added to variances, the default of torch's InstanceNorm


class InstanceAdapter(nn.Module):
    """n + B relu(A n + a) + b with n = x standardised over the image's places, channel by channel.

    B and b start at zero, so that it starts as the normalisation alone. It sees the whole image and has no
    inverse: what follows is no density of raw features.
    """

    def __init__(self, dim: int, *, task: int, seed: int) -> None:
        super().__init__()
        hidden = max(1, dim // 4)
        self.first, self.second = empty_linear(dim, hidden), empty_linear(hidden, dim)
        start_uniform(self.first.weight, self.first.bias, draw=generator(seed, task=task, name="adapter"))
        start_zero(self.second.weight, self.second.bias)

    def fit(self, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Do nothing: it has no statistics."""

    def forward(self, x: Float[Tensor, "batch row column dim"]) -> Float[Tensor, "batch row column dim"]:
        """Standardise each channel over an image, then add the network."""
        away = x - x.mean(dim=(1, 2), keepdim=True)
        normal = away / (away.square().mean(dim=(1, 2), keepdim=True) + SMALL).sqrt()
        return normal + self.second(functional.relu(self.first(normal)))
