"""Patch self-attention in front of the flow, one head, trained in the first task and frozen after it.

The notes say that it starts as the identity. It does not: sigmoid(0) = 0.5, and the feed-forward part has no
gate. The notes give no projection back from the head's width to the features'; here it is a Linear.
Source: notes 004 L373 on.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from reproductions.moleflow.initialisation import BASE, empty_linear, generator, start_uniform


class PatchAttention(nn.Module):
    """x + sigmoid(level) · out(softmax(q kᵀ / √hidden) v), then + feed-forward; both parts see LayerNorm(x).

    Dropout after attention and feed-forward acts in training alone, from torch's generator, which the loop
    seeds and checkpoints keep.
    """

    def __init__(self, dim: int, *, hidden: int, dropout: float, seed: int) -> None:
        super().__init__()
        self.dropout = dropout
        self.level = nn.Parameter(torch.zeros(1))
        self.query, self.value = empty_linear(dim, hidden), empty_linear(dim, hidden)
        self.key = nn.utils.skip_init(nn.Linear, dim, hidden, bias=False)  # softmax would not see one
        self.out = empty_linear(hidden, dim)
        self.wide, self.narrow = empty_linear(dim, hidden), empty_linear(hidden, dim)
        for name, linear in self.named_children():
            assert isinstance(linear, nn.Linear)
            draw = generator(seed, task=BASE, name=f"mixer.{name}")
            start_uniform(linear.weight, linear.bias, draw=draw)

    def add_task(self, task: int) -> None:
        """Do nothing: no task has parameters here."""

    def attended(self, x: Float[Tensor, "batch patch dim"]) -> Float[Tensor, "batch patch dim"]:
        """Return what each patch gathers from all patches of its image."""
        seen = functional.layer_norm(x, x.shape[-1:])
        query, key, value = self.query(seen), self.key(seen), self.value(seen)
        weights = torch.softmax(query @ key.mT / math.sqrt(query.shape[-1]), dim=-1)
        return self.out(weights @ value)

    def fed(self, x: Float[Tensor, "batch patch dim"]) -> Float[Tensor, "batch patch dim"]:
        """Return the feed-forward part of each patch alone."""
        return self.narrow(functional.gelu(self.wide(functional.layer_norm(x, x.shape[-1:]))))

    def forward(
        self, x: Float[Tensor, "batch row column dim"], *, task: int
    ) -> Float[Tensor, "batch row column dim"]:
        """Let each patch see all patches of its image."""
        patches = x.flatten(1, 2)  # batch patch dim
        for part, gate in ((self.attended, torch.sigmoid(self.level)), (self.fed, 1.0)):
            patches = patches + gate * functional.dropout(part(patches), self.dropout, self.training)
        return patches.view(x.shape)
