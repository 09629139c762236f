"""Could chance have done it? Permutation and sign-flip tests, and Holm's correction for several tests.

Sources: Fisher 1935; Phipson & Smyth 2010 (a permutation p-value is never zero); Holm 1979.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer

from mechlab.stats.intervals import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Permutation:
    """An observed statistic beside its null distribution; the statistic's own unit throughout."""

    observed: float
    null_mean: float
    null_interval: Interval  # central share `level` of the null distribution
    p_value: float  # two-sided, in (0, 1]
    draws: int  # members of the null distribution, the observed one not counted


def permutation_test(
    statistic: Callable[[np.ndarray, np.ndarray], float],
    values: Float[np.ndarray, " n"],
    labels: Integer[np.ndarray, " n"],
    *,
    blocks: Integer[np.ndarray, " n"] | None = None,
    draws: int = 2000,
    level: float = 0.95,
    seed: int,
) -> Permutation:
    """Compare `statistic(values, labels)` with itself under random reassignment of the labels.

    With `blocks`, labels move only inside a block (an image, a class), so that whatever blocks differ in
    cannot pass for an effect. Null hypothesis: labels are exchangeable inside blocks.
    Raises ValueError for unequal lengths, fewer than one draw or a level outside (0, 1).
    """
    block = np.zeros(values.size, np.int64) if blocks is None else blocks
    if not values.shape == labels.shape == block.shape:
        raise ValueError("values, labels and blocks must have one entry each per unit")
    rng = np.random.default_rng(seed)
    home = np.argsort(block, kind="stable")
    null = np.empty(_positive(draws))
    shuffled = np.empty_like(labels)
    for draw in range(draws):
        shuffled[home] = labels[np.lexsort((rng.random(block.size), block))]
        null[draw] = statistic(values, shuffled.copy())
    return _compared(float(statistic(values, labels)), null, level, whole=False)


def sign_flip_test(
    values: Float[np.ndarray, " n"], *, draws: int = 4096, level: float = 0.95, seed: int = 0
) -> Permutation:
    """Test whether the mean of paired differences is 0, by flipping their signs.

    All 2**n patterns are taken when they are no more than `draws` (the p-value is then exact and cannot fall
    below 2 / 2**n), else `draws` random ones. Null hypothesis: each difference is symmetric about 0.
    Raises ValueError for no value, values that are not finite, fewer than one draw or a wrong level.
    """
    if not values.size or not np.isfinite(values).all():
        raise ValueError("a sign-flip test needs at least one value, and finite ones")
    n, whole = values.size, 2.0**values.size <= _positive(draws)
    if whole:
        flips = (np.arange(2**n)[:, None] >> np.arange(n)) & 1  # pattern, unit
    else:
        flips = np.random.default_rng(seed).integers(0, 2, size=(draws, n))
    null = (1.0 - 2.0 * flips) @ values.astype(np.float64) / n
    return _compared(float(values.astype(np.float64).mean()), null, level, whole=whole)


def holm(p_values: Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    """Return p-values corrected for their number, in the given order: reject where one is <= alpha.

    Keeps the chance of any false rejection at alpha whatever the tests' dependence (Holm 1979).
    Raises ValueError for a value outside [0, 1].
    """
    if not ((p_values >= 0) & (p_values <= 1)).all():
        raise ValueError("p-values must lie in [0, 1]")
    order = np.argsort(p_values, kind="stable")
    stepped = p_values[order].astype(np.float64) * np.arange(p_values.size, 0, -1)
    corrected = np.empty(p_values.size)
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return corrected


def _compared(observed: float, null: np.ndarray, level: float, *, whole: bool) -> Permutation:
    """Return the two-sided comparison; a `whole` null already holds the observed arrangement."""
    if not 0 < level < 1:
        raise ValueError(f"level {level} is not in (0, 1)")
    slack = 1e-12 * float(np.abs(null).max())  # ties that rounding pulled apart
    extra = 0 if whole else 1
    above = np.count_nonzero(null >= observed - slack) + extra
    below = np.count_nonzero(null <= observed + slack) + extra
    low, high = np.quantile(null, [(1 - level) / 2, (1 + level) / 2])
    return Permutation(
        observed=observed,
        null_mean=float(null.mean()),
        null_interval=Interval(float(low), float(high)),
        p_value=float(min(1.0, 2 * min(above, below) / (null.size + extra))),
        draws=int(null.size),
    )


def _positive(draws: int) -> int:
    if draws < 1:
        raise ValueError(f"a null distribution needs at least one draw, not {draws}")
    return draws
