"""A gate of each patch on its context, in place of one weight for all patches.

As sketched all four tensors of its network start at zero. Then the hidden layer is zero for every patch, no
gradient reaches the first layer nor the last weight, and the gate stays one number: sigmoid of the last bias.
The published form holds those three tensors still, which is the same to the bit; the corrected form draws the
first layer. Source: notes 004 L562 on (hidden 64).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from reproductions.moleflow.initialisation import BASE, empty_linear, generator, start_uniform, start_zero


class PatchGate(nn.Module):
    """sigmoid(b · relu(A [x, context] + a) + c), 0.5 at the start; b and c start at zero.

    Its output is the place to record for statistics of the gate: `flow.<l>.subnet.gate`, quantity activation.
    """

    def __init__(self, channels: int, *, hidden: int, is_published: bool, name: str, seed: int) -> None:
        super().__init__()
        self.first, self.last = empty_linear(channels, hidden), empty_linear(hidden, 1)
        draw = generator(seed, task=BASE, name=f"{name}.gate")
        start_uniform(self.first.weight, self.first.bias, draw=draw)
        start_zero(self.last.weight, self.last.bias)
        self.still: tuple[str, ...] = ()
        if is_published:
            start_zero(self.first.weight, self.first.bias)
            self.still = ("first.weight", "first.bias", "last.weight")

    def forward(
        self, passive: Float[Tensor, "*patch passive"], context: Float[Tensor, "*patch passive"]
    ) -> Float[Tensor, "*patch 1"]:
        """Return how far each patch takes its context in, in (0, 1)."""
        seen = torch.cat([passive, context], dim=-1)
        return torch.sigmoid(self.last(functional.relu(self.first(seen))))
