"""Between which bounds does the mean over units lie? Student t below 20 units, studentised bootstrap from 20.

The unit is the image, the class or the seed, never the patch. Sources: Student 1908; Efron 1979; Hall 1988
(the studentised bootstrap is second-order exact, the percentile one is not). Why so: docs/statistics.md.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer
from scipy.stats import t as student

BOOTSTRAP_FROM = 20  # units; below it the bootstrap has too few values to resample
_BLOCK = 1_000_000  # resampled counts in memory at once


class Interval(NamedTuple):
    """Lower and upper bound, in the unit of the values."""

    low: float
    high: float

    def excludes(self, point: int | float) -> bool:
        """Return whether the whole interval lies on one side of `point`."""
        return point < self.low or point > self.high


def mean_interval(values: Float[np.ndarray, " n"], *, level: float = 0.95) -> Interval:
    """Return Student's t interval of the mean of n independent units (or of paired differences).

    Raises ValueError for fewer than two values, a value that is not finite, or a level outside (0, 1).
    """
    _check(values, level)
    values = values.astype(np.float64)
    half = student.ppf((1 + level) / 2, values.size - 1) * values.std(ddof=1) / np.sqrt(values.size)
    return Interval(float(values.mean() - half), float(values.mean() + half))


def cluster_bootstrap(
    values: Float[np.ndarray, " n"],
    *,
    clusters: Integer[np.ndarray, " n"] | None = None,
    level: float = 0.95,
    draws: int = 4000,
    seed: int = 0,
) -> Interval:
    """Return the studentised bootstrap interval of the mean over clusters, whole clusters being resampled.

    `clusters` names the unit of each value; a unit counts once, with the mean of its values. Without it
    each value is its own unit. When so few units differ that a resample can be constant (its t value is then
    unbounded), the t interval of the units is given instead.
    Raises ValueError for fewer than two units, a value that is not finite, or a level outside (0, 1).
    """
    units = unit_means(values, clusters)
    _check(units, level)
    n, mean = units.size, units.mean()
    centred = units - mean
    error = units.std(ddof=1) / np.sqrt(n)
    if error == 0:
        return Interval(float(mean), float(mean))
    ends = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(_t_values(centred, draws, seed), ends, method="inverted_cdf")
    if not np.isfinite([low, high]).all():
        return mean_interval(units, level=level)
    return Interval(float(mean - high * error), float(mean - low * error))


def interval(
    values: Float[np.ndarray, " n"],
    *,
    clusters: Integer[np.ndarray, " n"] | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the interval of the mean over units that fits their number.

    Fewer than `BOOTSTRAP_FROM` units: Student t on the means of the units; from there: `cluster_bootstrap`.
    Raises ValueError as these two do.
    """
    units = unit_means(values, clusters)
    if units.size < BOOTSTRAP_FROM:
        return mean_interval(units, level=level)
    return cluster_bootstrap(units, level=level, seed=seed)


def unit_means(
    values: Float[np.ndarray, " n"], clusters: Integer[np.ndarray, " n"] | None = None
) -> Float[np.ndarray, " unit"]:
    """Return the mean of each unit, float64, in ascending order of the units' numbers."""
    if clusters is None:
        return values.astype(np.float64)
    if clusters.shape != values.shape:
        raise ValueError(f"{values.size} values but {clusters.size} cluster numbers; give one a value")
    place = np.unique(clusters, return_inverse=True)[1]
    means: np.ndarray = np.bincount(place, weights=values) / np.bincount(place)
    return means


def _t_values(centred: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Return the t values of resamples of units whose mean is 0; a constant resample has an infinite one."""
    rng, n = np.random.default_rng(seed), centred.size
    pieces: list[np.ndarray] = []
    left = draws
    while left:
        rows = min(left, max(1, _BLOCK // n))
        sample = centred[rng.integers(0, n, size=(rows, n))]  # draw, unit
        mean, spread = sample.mean(axis=1), sample.std(axis=1, ddof=1)
        flat = np.ptp(sample, axis=1) == 0
        safe = np.where(flat, 1.0, spread)
        pieces.append(np.where(flat, np.copysign(np.inf, mean), mean * np.sqrt(n) / safe))
        left -= rows
    return np.concatenate(pieces)


def _check(values: np.ndarray, level: float) -> None:
    if values.size < 2:
        raise ValueError(f"an interval needs at least two units, not {values.size}")
    if not np.isfinite(values).all():
        raise ValueError("an interval needs finite values")
    if not 0 < level < 1:
        raise ValueError(f"level {level} is not in (0, 1)")
