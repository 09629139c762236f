"""Places by their distance to each other: attention of a patch to its window, biased by the offset.

Shared, trained with the first task and frozen after it. Source: notes 004 L2709 (query and key, a learned
table of offsets up to 7, a gate to the absolute embedding). The notes do not say what lies beyond the largest
distance: here nothing is attended there, so that inside, shifting the patches shifts what they get.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reproductions.moleflow.initialisation import BASE, empty_linear, generator, start_uniform
from reproductions.moleflow.placing import Features, NoPlacing, Place


class RelativePlacing(NoPlacing):
    """x + g · embedding + (1 - g) · attention(x), g = sigmoid(level), one half at the start.

    The attended values are the features themselves. Gate 1 is the sine embedding; gate 0 knows no place.
    """

    def __init__(self, grid: tuple[int, int], dim: int, *, distance: int, seed: int) -> None:
        super().__init__()
        self.distance = distance
        self.level = nn.Parameter(torch.zeros(1))
        self.offsets = nn.Parameter(torch.zeros(2 * distance + 1, 2 * distance + 1))
        hidden = max(1, dim // 4)
        self.query = empty_linear(dim, hidden)
        # Without a bias, which would raise all logits of a patch alike.
        self.key = nn.utils.skip_init(nn.Linear, dim, hidden, bias=False)
        for name, linear in (("query", self.query), ("key", self.key)):
            start_uniform(
                linear.weight, linear.bias, draw=generator(seed, task=BASE, name=f"position.{name}")
            )
        rows, columns = (torch.arange(count) for count in grid)
        places = torch.cartesian_prod(rows, columns)
        away = places[None] - places[:, None]  # patch, other, 2
        self.register_buffer("is_far", (away.abs() > distance).any(dim=-1), persistent=False)
        self.register_buffer("away", away.clamp(-distance, distance) + distance, persistent=False)

    def attended(self, x: Features) -> Features:
        """Return what each patch gets from its window."""
        patches = x.flatten(1, 2)  # batch, patch, dim
        query, key = self.query(patches), self.key(patches)
        logits = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
        logits = logits + self._bias()
        weights: Float[Tensor, "batch patch patch"] = logits.masked_fill(self.is_far, -torch.inf).softmax(-1)
        return (weights @ patches).view(x.shape)

    def _bias(self) -> Float[Tensor, "patch patch"]:
        # A product, since indexing the table would sum gradients in no fixed order on CUDA.
        size = len(self.offsets)
        steps = torch.arange(size, device=self.offsets.device)
        down, right = (
            (self.away[..., axis, None] == steps).to(self.offsets.dtype) for axis in range(2)
        )  # patch, other, size
        return torch.einsum("pqi,ij,pqj->pq", down, self.offsets, right)

    def forward(self, x: Features, place: Place, *, task: int) -> Features:
        """Add the embedding and what the window gives, by the gate."""
        gate = torch.sigmoid(self.level)
        return x + gate * place + (1 - gate) * self.attended(x)
