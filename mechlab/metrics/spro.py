"""How much of each defect is found, where a part of it is enough? AUC-sPRO, exact.

Source: Bergmann et al., IJCV 2022 (MVTec LOCO, saturated per-region overlap); Carvalho et al. 2024 (AutoVI)
takes it over. A channel is one annotated defect of an image: its overlap is TP / S, at most 1, where S is the
number of pixels at which finding more of it counts no more. With S = area of every 8-connected region of the
mask it is AUPRO.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from mechlab.errors import MechlabError
from mechlab.metrics.overlap import check_limit, exact_area


@dataclass(frozen=True, slots=True)
class Channel:
    """One annotated defect of one image; `saturation` in pixels, 1 to the area."""

    mask: Bool[np.ndarray, "height width"]
    saturation: int

    def __post_init__(self) -> None:
        """Refuse an empty channel and a saturation that it cannot reach."""
        area = int(np.count_nonzero(self.mask))
        if not 1 <= self.saturation <= area:
            raise ValueError(
                f"a channel of {area} pixels cannot saturate at {self.saturation}; give 1 to {area}"
            )


Channels = Sequence[Sequence[Channel]]  # of each item; a normal item has none


def saturation(area: int, threshold: int | float, *, is_relative: bool) -> int:
    """Return S in pixels of a defect of `area` pixels: a share of it, or a number of pixels up to it.

    A share is rounded down, one pixel at least.
    Raises MechlabError for a share outside (0, 1] and for a number of pixels that is no whole one above 0.
    """
    if is_relative:
        if not 0 < threshold <= 1:
            raise MechlabError(
                f"a relative saturation of {threshold} is none; give a share above 0, up to 1."
            )
        return max(1, int(threshold * area))
    if threshold < 1 or int(threshold) != threshold:
        raise MechlabError(f"a saturation of {threshold} pixels is none; give a whole number from 1.")
    return min(int(threshold), area)


def auc_spro(
    maps: Float[np.ndarray, "item height width"], channels: Channels, *, limit: int | float = 0.05
) -> float:
    """Return the area under mean saturated overlap against false-positive rate, from 0 to `limit`, over it.

    At a threshold t the overlap of a channel is min(1, pixels with score >= t / S); the mean is over all
    channels of all items, each the same. A pixel is normal where no channel of its image has it; the rate is
    the share of the normal pixels of all items with score >= t. Thresholds, lines and the cut at `limit` as
    in `region.aupro`. The result is in [0, 1].
    Raises ValueError for unequal shapes, NaN, a limit outside (0, 1], no channel or no normal pixel.
    """
    check_limit(limit)
    normal, scores, weights = [], [], []
    for values, own in zip(maps, _checked(maps, channels), strict=True):
        normal.append(values[~union(own, values.shape)])
        for channel in own:
            inside = values[channel.mask]
            scores.append(inside)
            weights.append(saturated_weights(inside, channel.saturation))
    if not scores or not sum(one.size for one in normal):
        raise ValueError("AUC-sPRO needs at least one channel and one normal pixel")
    shares = np.concatenate(weights) / len(weights)
    return exact_area(np.concatenate(normal), np.concatenate(scores), shares, limit=limit)


def saturated_weights(scores: Float[np.ndarray, " pixel"], saturated_at: int) -> Float[np.ndarray, " pixel"]:
    """Return by how much each pixel of a channel raises its overlap: 1 / S for the S highest, else 0.

    So a clipped sum is a plain one, and histograms of several images add up. Which of equal scores are taken
    does not matter: they pass a threshold together.
    """
    weights = np.zeros(scores.size)
    start = scores.size - saturated_at
    weights[np.argpartition(scores, start)[start:] if start else slice(None)] = 1.0 / saturated_at
    return weights


def union(channels: Sequence[Channel], shape: tuple[int, ...]) -> Bool[np.ndarray, "height width"]:
    """Return the pixels that any channel of an image has."""
    found = np.zeros(shape, dtype=bool)
    for channel in channels:
        found |= channel.mask
    return found


def _checked(maps: np.ndarray, channels: Channels) -> Channels:
    if len(maps) != len(channels):
        raise ValueError(f"{len(maps)} maps but channels of {len(channels)} items; give a list an item")
    for own in channels:
        for channel in own:
            if channel.mask.shape != maps.shape[1:]:
                raise ValueError(f"a map of {maps.shape[1:]} but a channel of {channel.mask.shape} pixels")
    return channels
