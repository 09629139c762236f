"""How much of each defect is found while few normal pixels are flagged? AUPRO, exact.

Source: Bergmann et al. 2021 (MVTec AD, per-region overlap integrated to a false-positive rate of 0.3).
"""

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import label

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
    if not 0 < limit <= 1:
        raise ValueError(f"limit {limit} is no false-positive rate in (0, 1]")
    if not masks.any() or masks.all():
        raise ValueError("AUPRO needs at least one defective and one normal pixel")
    normal = np.sort(maps[~masks])
    scores, weights = _weighted_defects(maps, masks)
    if np.isnan(normal[-1]) or np.isnan(scores[-1]):  # NaN sorts last
        raise ValueError("maps hold NaN; a NaN has no rank")
    rate, overlap = _curve(normal, scores, weights)
    end = int(np.searchsorted(rate, limit))  # rate[end - 1] < limit <= rate[end]
    share = (limit - rate[end - 1]) / (rate[end] - rate[end - 1])
    last = overlap[end - 1] + share * (overlap[end] - overlap[end - 1])
    area = np.trapezoid(np.append(overlap[:end], last), np.append(rate[:end], limit))
    return float(area / limit)


def _weighted_defects(maps: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores of defective pixels, ascending, each with its share of the mean overlap."""
    defective = masks.any(axis=(1, 2))
    inside = masks[defective]
    regions, count = label(inside, structure=_NEIGHBOURS)
    region_of_pixel = regions[inside] - 1
    size = np.bincount(region_of_pixel, minlength=count)
    scores = maps[defective][inside]
    order = np.argsort(scores)
    return scores[order], 1.0 / (count * size[region_of_pixel[order]])


def _curve(normal: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return false-positive rate and mean overlap at the corners of the curve, from (0, 0) to (1, 1).

    Only the corners matter: between two scores of defective pixels the overlap does not change. A distinct
    score of defective pixels gives two corners, one before and one after its pixels (and the normal pixels
    tied with them) are taken in.
    """
    descending = scores[::-1]
    last = np.flatnonzero(np.append(descending[1:] != descending[:-1], True))
    after = np.cumsum(weights[::-1])[last]
    before = np.append(0.0, after[:-1])
    above = normal.size - np.searchsorted(normal, descending[last], side="right")
    at_or_above = normal.size - np.searchsorted(normal, descending[last], side="left")
    rate = np.stack([above, at_or_above], axis=1).reshape(-1) / normal.size
    overlap = np.stack([before, after], axis=1).reshape(-1)
    return np.concatenate(([0.0], rate, [1.0])), np.concatenate(([0.0], overlap, [1.0]))
