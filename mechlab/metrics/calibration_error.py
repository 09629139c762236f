"""Do probabilities mean what they say? The expected calibration error, and what chance alone gives of it.

Sources: Naeini, Cooper & Hauskrecht 2015, AAAI; Guo et al. 2017, arXiv:1706.04599 (15 bins of equal width).
"""

import numpy as np
from jaxtyping import Bool, Float

BINS = 15
DRAWS = 200


def calibration_error(
    probabilities: Float[np.ndarray, " n"], labels: Bool[np.ndarray, " n"], *, bins: int = BINS
) -> float:
    """Return the mean over bins of |mean probability - share of positives|, weighted by size; in [0, 1].

    `probabilities` are those of the positive class; bins have equal width, and 1 is in the last one. Raises
    ValueError for no value, unequal lengths, no bin, or a value outside [0, 1].
    """
    places = _places(probabilities, bins)
    if labels.shape != probabilities.shape:
        raise ValueError(f"{probabilities.size} probabilities but {labels.size} labels; give one label each")
    gaps = np.bincount(places, weights=probabilities.astype(np.float64) - labels, minlength=bins)
    return float(np.abs(gaps).sum() / probabilities.size)


def chance_error(
    probabilities: Float[np.ndarray, " n"], *, bins: int = BINS, draws: int = DRAWS, seed: int
) -> float:
    """Return the mean error of labels that are drawn by the probabilities themselves: calibrated, but finite.

    Raises ValueError as `calibration_error`, and for no draw.
    """
    if draws < 1:
        raise ValueError(f"{draws} draws give no mean")
    random = np.random.default_rng(seed)
    drawn = (random.random(probabilities.size) < probabilities for _ in range(draws))
    return float(np.mean([calibration_error(probabilities, labels, bins=bins) for labels in drawn]))


def _places(probabilities: np.ndarray, bins: int) -> np.ndarray:
    if bins < 1 or not probabilities.size:
        raise ValueError(f"{probabilities.size} probabilities in {bins} bins have no calibration error")
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("probabilities must lie in [0, 1]")
    return np.minimum((probabilities * bins).astype(np.int64), bins - 1)
