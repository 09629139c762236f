"""The context mixer: each patch takes a share of its neighbourhood, before the flow.

Trained in the first task and frozen after it. Its Jacobian is not part of the log-det: what follows is a
density of the mixed features. Source: notes 004 L1492 on (what happens when it trains on), facts 1.2.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reproductions.moleflow.depthwise import depthwise


class NoMixer(nn.Module):
    """Features as they are."""

    def add_task(self, task: int) -> None:
        """Do nothing: no task has parameters here."""

    def forward(
        self, x: Float[Tensor, "batch row column dim"], *, task: int
    ) -> Float[Tensor, "batch row column dim"]:
        """Return x."""
        return x


class ContextMixer(nn.Module):
    """(1 - s) x + s · depthwise convolution, s = sigmoid(level); the kernel starts as a mean, zero-padded."""

    def __init__(self, dim: int, *, kernel: int) -> None:
        super().__init__()
        self.convolution = depthwise(dim, kernel)
        nn.init.constant_(self.convolution.weight, 1 / kernel**2)
        nn.init.zeros_(self.convolution.bias)
        self.level = nn.Parameter(torch.tensor([0.5]))

    def add_task(self, task: int) -> None:
        """Do nothing: no task has parameters here."""

    def forward(
        self, x: Float[Tensor, "batch row column dim"], *, task: int
    ) -> Float[Tensor, "batch row column dim"]:
        """Mix each patch with its neighbourhood."""
        around = self.convolution(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return torch.lerp(x, around, torch.sigmoid(self.level))
