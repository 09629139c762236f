"""How far patches are from a bank of normal ones, and which channels make the distance.

Two readings of "influence" (notes 000). Generation 1: the mean over the nearest neighbours of |x_d - m_d|.
Generation 2: |x_d - m_d| / |x - m| of the nearest one, which is the size of d |x - m| / d x_d. Neither is
differentiated: what is learned are the weights in `reproductions.rd_noising.deviation`.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reproductions.patchcore.search import nearest

TINY = 1e-8  # beside a norm or a deviation that may be 0
CHUNK = 1 << 22  # numbers that are held at a time


class Influence(NamedTuple):
    """What a bank says of patches, in the unit of the features."""

    channels: Float[Tensor, "patch dim"]
    distance: Float[Tensor, " patch"]  # mean Euclidean distance to the neighbours


def neighbours(
    patches: Float[Tensor, "patch dim"], bank: Float[Tensor, "kept dim"], *, count: int | None
) -> Int[Tensor, "patch near"]:
    """Return the indices of the `count` nearest of a bank, nearest first; None: all of it.

    Raises:
        MechlabError: more neighbours than the bank holds.
    """
    with torch.no_grad():
        return nearest(patches, bank, count=len(bank) if count is None else count)[1]


@torch.no_grad()
def mean_difference(
    patches: Float[Tensor, "patch dim"], bank: Float[Tensor, "kept dim"], near: Int[Tensor, "patch near"]
) -> Influence:
    """Return the influence of generation 1: the mean of |x_d - m_d| over neighbours, before its weights."""
    parts = [(gap.abs().mean(dim=1), _lengths(gap).mean(dim=1)) for gap in _gaps(patches, bank, near)]
    return Influence(torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts]))


@torch.no_grad()
def distance_gradient(
    patches: Float[Tensor, "patch dim"], bank: Float[Tensor, "kept dim"], near: Int[Tensor, "patch near"]
) -> Influence:
    """Return the influence of generation 2: how the distance to the nearest changes with each channel."""
    gap = (patches - bank[near[:, 0]]).abs()
    distance = torch.cat([_lengths(part).mean(dim=1) for part in _gaps(patches, bank, near)])
    return Influence(gap / (_lengths(gap)[:, None] + TINY), distance)


def _gaps(patches: Tensor, bank: Tensor, near: Tensor) -> Iterator[Tensor]:
    """Give x - m of some patches at a time: (patch, near, dim)."""
    rows = max(1, CHUNK // (near.shape[1] * patches.shape[1]))
    for part, own in zip(patches.split(rows), near.split(rows), strict=True):
        yield part[:, None] - bank[own]


def _lengths(gaps: Tensor) -> Tensor:
    return torch.linalg.vector_norm(gaps, dim=-1)
