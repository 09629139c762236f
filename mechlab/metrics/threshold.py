"""Where is the line between normal and defective, and how often does it flag a normal image?

Sources: Vovk, Gammerman & Shafer 2005 (conformal rank); Clopper & Pearson 1934 (exact binomial interval).
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import betaincinv


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share of `n` images with its exact (Clopper-Pearson) interval; all three numbers in [0, 1]."""

    rate: float
    low: float
    high: float
    n: int


def promised_rate(n: int, *, wanted: float = 0.05) -> float:
    """Return the lowest false-positive rate, at least `wanted`, that `n` normal images can promise.

    It is 1 / (n + 1) when that is above `wanted`: the next image is the highest of n + 1 that often.
    Raises ValueError for no image or a rate outside (0, 1).
    """
    if n < 1 or not 0 < wanted < 1:
        raise ValueError(
            f"no rate can be promised of {n} images when {wanted} is wanted; give n >= 1, 0 < wanted < 1"
        )
    return max(wanted, 1.0 / (n + 1))


def threshold_from_normals(scores: Float[np.ndarray, " n"], *, false_positive_rate: float = 0.05) -> float:
    """Return the lowest score that a normal image exceeds with at most the probability `false_positive_rate`.

    `scores` are those of n normal images kept out of training; an image is called defective when its score
    is strictly above the threshold. The promise is the conformal one: it holds for a further normal image
    that is exchangeable with these, on average over such sets of n, whatever the distribution of scores.
    With n images no rate below 1 / (n + 1) can be promised (see `promised_rate`). Unit: that of the scores.
    Raises ValueError for a rate outside (0, 1), scores that are not finite, and too few of them.
    """
    if not 0 < false_positive_rate < 1:
        raise ValueError(f"false_positive_rate {false_positive_rate} is not in (0, 1)")
    if not np.isfinite(scores).all():
        raise ValueError("scores of normal images must be finite")
    n = scores.size
    above = math.floor((n + 1) * false_positive_rate + 1e-9)  # of n + 1 exchangeable scores
    if above == 0:
        raise ValueError(
            f"{n} normal images cannot promise a false-positive rate of {false_positive_rate:g}; "
            f"give at least {math.ceil(1 / false_positive_rate - 1e-9) - 1} or a rate of 1/{n + 1} or more"
        )
    return float(np.sort(scores)[n - above])


def rate_above(scores: Float[np.ndarray, " n"], threshold: int | float, *, level: float = 0.95) -> Rate:
    """Return the share of scores strictly above `threshold` with its exact binomial interval.

    Give the scores of normal images that chose neither the model nor the threshold; images are the unit.
    The interval covers the true rate with a probability of at least `level`.
    Raises ValueError for no scores, NaN, or a level outside (0, 1).
    """
    if not scores.size or np.isnan(scores).any():
        raise ValueError("a rate needs at least one score and none that is NaN")
    if not 0 < level < 1:
        raise ValueError(f"level {level} is not in (0, 1)")
    n, above, tail = scores.size, int(np.count_nonzero(scores > threshold)), (1 - level) / 2
    low = float(betaincinv(above, n - above + 1, tail)) if above else 0.0
    high = float(betaincinv(above + 1, n - above, 1 - tail)) if above < n else 1.0
    return Rate(rate=above / n, low=low, high=high, n=n)
