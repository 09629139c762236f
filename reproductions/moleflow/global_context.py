"""Each patch asks the regions of its image: cross-attention to their means, in front of the flow.

Source: notes 004 L2466 (4 x 4 regions, a quarter of the channels, gate sigmoid(0.1)).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from reproductions.moleflow.initialisation import BASE, empty_linear, generator, start_uniform

REDUCTION = 4  # channels over the channels in which patches and regions are compared


class GlobalContext(nn.Module):
    """x + sigmoid(level) · out(softmax(q kᵀ / √d) v); q of patches, k and v of the means of regions."""

    share: Float[Tensor, "region patch"]

    def __init__(self, dim: int, *, grid: tuple[int, int], regions: int, seed: int) -> None:
        super().__init__()
        one_hot = torch.eye(grid[0] * grid[1]).view(-1, 1, *grid)  # patch 1 row column
        # As a product, because the gradient of the pooling itself is not deterministic on every device.
        share = functional.adaptive_avg_pool2d(one_hot, regions).flatten(1).T
        self.register_buffer("share", share.contiguous(), persistent=False)
        width = max(1, dim // REDUCTION)
        self.level = nn.Parameter(torch.tensor([0.1]))
        self.query, self.value = empty_linear(dim, width), empty_linear(dim, width)
        self.key = nn.utils.skip_init(nn.Linear, dim, width, bias=False)  # softmax would not see one
        self.out = empty_linear(width, dim)
        for name, linear in self.named_children():
            assert isinstance(linear, nn.Linear)
            draw = generator(seed, task=BASE, name=f"mixer.{name}")
            start_uniform(linear.weight, linear.bias, draw=draw)

    def add_task(self, task: int) -> None:
        """Do nothing: no task has parameters here."""

    def context(self, x: Float[Tensor, "batch row column dim"]) -> Float[Tensor, "batch row column dim"]:
        """Return what each patch gathers from the regions."""
        regions = self.share @ x.flatten(1, 2)  # batch region dim
        query, key, value = self.query(x.flatten(1, 2)), self.key(regions), self.value(regions)
        weights = torch.softmax(query @ key.mT / math.sqrt(query.shape[-1]), dim=-1)
        return self.out(weights @ value).view(x.shape)

    def forward(
        self, x: Float[Tensor, "batch row column dim"], *, task: int
    ) -> Float[Tensor, "batch row column dim"]:
        """Add each patch's context."""
        return x + torch.sigmoid(self.level) * self.context(x)
