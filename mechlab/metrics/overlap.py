"""The area under overlap against false-positive rate up to a limit: what AUPRO and AUC-sPRO share. Exact.

Each defective pixel carries the share by which it raises the mean overlap; the shares sum to 1.
"""

import numpy as np
from jaxtyping import Float


def check_limit(limit: int | float) -> None:
    """Raise ValueError for a limit outside (0, 1]."""
    if not 0 < limit <= 1:
        raise ValueError(f"limit {limit} is no false-positive rate in (0, 1]")


def exact_area(
    normal: Float[np.ndarray, " normal"],
    scores: Float[np.ndarray, " defective"],
    weights: Float[np.ndarray, " defective"],
    *,
    limit: int | float,
) -> float:
    """Return the area from false-positive rate 0 to `limit`, over `limit`, with every score a threshold.

    `normal` are the scores of normal pixels, `scores` those of defective ones, each in any order;
    `weights` their shares of the mean overlap. Raises ValueError for NaN.
    """
    order = np.argsort(scores)
    normal, scores, weights = np.sort(normal), scores[order], weights[order]
    if np.isnan(normal[-1]) or np.isnan(scores[-1]):  # NaN sorts last
        raise ValueError("maps hold NaN; a NaN has no rank")
    return limited_area(*_corners(normal, scores, weights), limit=limit)


def limited_area(
    rate: Float[np.ndarray, " corner"], overlap: Float[np.ndarray, " corner"], *, limit: int | float
) -> float:
    """Return the area under a curve that ascends from (0, 0) to rate 1, cut at `limit`, over `limit`."""
    end = int(np.searchsorted(rate, limit))  # rate[end - 1] < limit <= rate[end]
    share = (limit - rate[end - 1]) / (rate[end] - rate[end - 1])
    last = overlap[end - 1] + share * (overlap[end] - overlap[end - 1])
    area = np.trapezoid(np.append(overlap[:end], last), np.append(rate[:end], limit))
    return float(area / limit)


def _corners(
    normal: np.ndarray, scores: np.ndarray, weights: np.ndarray
) -> tuple[Float[np.ndarray, " corner"], Float[np.ndarray, " corner"]]:
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
