"""What is an AUROC worth? An interval that holds near 1, and one value an image whose mean is the AUROC.

Sources: Newcombe 2006, Statistics in Medicine 25:559, method 5 (a score interval with the variance of Hanley
and McNeil 1982); Quenouille 1956 (jackknife).
"""

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import brentq
from scipy.stats import norm


def auroc_interval(
    value: float, *, positives: int, negatives: int, level: float = 0.95
) -> tuple[float, float]:
    """Return Newcombe's interval of an AUROC: the values within z of their own standard errors of `value`."""
    z, size = float(norm.ppf((1 + level) / 2)), (positives + negatives) / 2 - 1

    def gap(true: float, seen: float) -> float:
        spread = 1 + size * (1 - true) / (2 - true) + size * true / (1 + true)
        return seen - true - z * float(np.sqrt(true * (1 - true) * spread / (positives * negatives)))

    def lower(seen: float) -> float:
        # just below 1, since 1 itself solves the equation of a perfect AUROC without being its lower end
        return float(brentq(gap, 0.0, min(seen, 1 - 1e-12), args=(seen,))) if seen > 0 else 0.0

    return lower(value), 1.0 - lower(1.0 - value)


def auroc_values(values: Float[np.ndarray, " n"], labels: Bool[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return the jackknife value of the AUROC of each image; their mean is the AUROC."""
    wins = (values[labels][:, None] > values[~labels]) + 0.5 * (values[labels][:, None] == values[~labels])
    area, n = wins.mean(), len(values)
    found = np.empty(n)
    for kind, axis in ((labels, 1), (~labels, 0)):
        size = int(kind.sum())
        found[kind] = n * area - (n - 1) * (size * area - wins.mean(axis=axis)) / (size - 1)
    return found
