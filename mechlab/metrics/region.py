"""How much of each defect is found while few normal pixels are flagged? AUPRO, exact.

Source: Bergmann et al. 2021 (MVTec AD, per-region overlap integrated to a false-positive rate of 0.3).
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import label

from mechlab.metrics.overlap import check_limit, exact_area

# 8 neighbours within an image, none across the item axis
_NEIGHBOURS = np.stack([np.zeros((3, 3), bool), np.ones((3, 3), bool), np.zeros((3, 3), bool)])


def aupro(
    maps: Float[np.ndarray, "item height width"],
    masks: Bool[np.ndarray, "item height width"],
    *,
    limit: int | float = 0.3,
) -> float:
    """Return the area under per-region overlap against false-positive rate, from 0 to `limit`, over `limit`.

    At a threshold t, a region (8-connected, within one image) has the overlap: share of its pixels with
    score >= t; the curve's ordinate is the mean over regions of all items, the abscissa the share of normal
    pixels of all items with score >= t. Every distinct score is a threshold; points are joined by straight
    lines, and the line is cut at `limit`. The result is in [0, 1]; `limit` is a rate in (0, 1].
    Raises ValueError for unequal shapes, NaN, a limit outside (0, 1], no region or no normal pixel.
    """
    if maps.shape != masks.shape:
        raise ValueError(f"maps of shape {maps.shape} but masks of shape {masks.shape}; they must be equal")
    check_limit(limit)
    if not masks.any() or masks.all():
        raise ValueError("AUPRO needs at least one defective and one normal pixel")
    return exact_area(maps[~masks], *weighted_defects(maps, masks), limit=limit)


def weighted_defects(
    maps: Float[np.ndarray, "item height width"], masks: Bool[np.ndarray, "item height width"]
) -> tuple[Float[np.ndarray, " defective"], Float[np.ndarray, " defective"]]:
    """Return the scores of defective pixels, each with its share of the mean overlap of all regions."""
    defective = masks.any(axis=(1, 2))
    inside = masks[defective]
    regions, count = labelled(inside)
    region_of_pixel = regions[inside] - 1
    size = np.bincount(region_of_pixel, minlength=count)
    return maps[defective][inside], 1.0 / (count * size[region_of_pixel])


def labelled(
    masks: Bool[np.ndarray, "item height width"],
) -> tuple[Int[np.ndarray, "item height width"], int]:
    """Return the number of each pixel's 8-connected region, from 1 on (0: none), and how many there are."""
    regions, count = label(masks, structure=_NEIGHBOURS)
    return regions, int(count)
