"""From influence to the standard deviation of the noise: what is learned of RD-Noising, in two generations.

Generation 1: both signals are z-scored, the influence over the channels of a patch, the distance over all
patches of the batch; std = low + (high - low) sigmoid(z(w I) + beta z(d)). Generation 2: both are scaled to
0..1 and std = low + (high - low) sigmoid(alpha I + beta d - 1/2). So the distance of a patch counts beside
those of its batch: other images in it, another std. Source: notes 000; the formulas are those of its code.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reproductions.rd_noising.influence import TINY, Influence

Range = tuple[float, float]  # lowest and highest std, in the unit of the features


def _z_scored(values: Float[Tensor, "..."], *, dim: int, correction: int) -> Float[Tensor, "..."]:
    mean = values.mean(dim=dim, keepdim=True)
    return (values - mean) / (values.std(dim=dim, correction=correction, keepdim=True) + TINY)


def _to_unit(values: Float[Tensor, "..."], *, dim: int) -> Float[Tensor, "..."]:
    low, high = values.amin(dim=dim, keepdim=True), values.amax(dim=dim, keepdim=True)
    return (values - low) / (high - low + TINY)


def _between(ends: Range, score: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    return ends[0] + (ends[1] - ends[0]) * torch.sigmoid(score)


class FeatureDeviation(nn.Module):
    """Generation 1: a weight a channel and one of the distance, 1 at the start."""

    def __init__(self, dim: int, *, ends: Range) -> None:
        """Take the channels and the range of the std."""
        super().__init__()
        self.ends = ends
        self.channel_weight = nn.Parameter(torch.ones(dim))
        self.distance_weight = nn.Parameter(torch.ones(1))

    def forward(self, found: Influence) -> Float[Tensor, "patch dim"]:
        """Return the std of each channel of each patch; patches are those of one batch."""
        return self._std(found, self.channel_weight, self.distance_weight)

    def at_start(self, found: Influence) -> Float[Tensor, "patch dim"]:
        """Return the std that the weights gave before they were trained."""
        return self._std(found, torch.ones_like(self.channel_weight), torch.ones_like(self.distance_weight))

    def _std(self, found: Influence, channel: Tensor, distance: Tensor) -> Tensor:
        # The public code divides by D - 1 over channels; over all patches n - 1 or n is the same to rounding.
        own = _z_scored(found.channels * channel, dim=1, correction=1)
        return _between(self.ends, own + distance * _z_scored(found.distance, dim=0, correction=0)[:, None])


class EmbeddingDeviation(nn.Module):
    """Generation 2: one weight of the influence and one of the distance, 1 at the start."""

    def __init__(self, *, ends: Range) -> None:
        """Take the range of the std."""
        super().__init__()
        self.ends = ends
        self.influence_weight = nn.Parameter(torch.ones(1))
        self.distance_weight = nn.Parameter(torch.ones(1))

    def forward(self, found: Influence) -> Float[Tensor, "patch dim"]:
        """Return the std of each channel of each place; places are those of one batch."""
        return self._std(found, self.influence_weight, self.distance_weight)

    def at_start(self, found: Influence) -> Float[Tensor, "patch dim"]:
        """Return the std that the weights gave before they were trained."""
        one = torch.ones_like(self.distance_weight)
        return self._std(found, one, one)

    def _std(self, found: Influence, influence: Tensor, distance: Tensor) -> Tensor:
        scores = influence * _to_unit(found.channels, dim=1)
        return _between(self.ends, scores + distance * _to_unit(found.distance, dim=0)[:, None] - 0.5)
