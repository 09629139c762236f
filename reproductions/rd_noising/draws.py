"""What is random in a noisy step: drawn for each image, from a generator that nothing else uses.

A draw depends on seed, task, epoch, layer and the image's number in the task alone: not on batches or on what
ran before. So a resumed training draws what an unbroken one draws, and without noise no other draw moves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

_SALT = 0x6E6F6973  # apart from all other draws of a run


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """Where the draws of one batch come from."""

    seed: int
    task: int
    epoch: int
    items: Sequence[int]  # numbers of the batch's images in the task

    def normal(self, shape: tuple[int, ...], *, layer: int) -> Float[Tensor, "batch ..."]:
        """Return standard normal numbers of a shape for each image, on the processor."""
        return torch.stack([torch.randn(shape, generator=source) for source in self._sources(layer, 0)])

    def orders(self, count: int, *, layer: int, number: int) -> Float[Tensor, "batch count"]:
        """Return numbers from 0 to 1 for each image, whose ranks are a random order; one a `number`."""
        return torch.stack(
            [torch.rand(count, generator=source) for source in self._sources(layer, 1 + number)]
        )

    def _sources(self, layer: int, number: int) -> list[torch.Generator]:
        """Return one generator an image."""
        known = [_SALT, self.seed, self.task, self.epoch, layer, number]
        states = [np.random.SeedSequence([*known, int(item)]).generate_state(1)[0] for item in self.items]
        return [torch.Generator().manual_seed(int(state)) for state in states]
