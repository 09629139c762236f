"""How many replicates would decide? Power of the t interval against a threshold.

Source: the noncentral t distribution (Johnson & Welch 1940), solved for n.
"""

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, stdtrit
from scipy.stats import chi2

MOST = 1_000_000  # replicates; beyond it the answer is "no number that can be run"
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)
_PROBABILITIES, _SHARES = (_NODES + 1) / 2, _WEIGHTS / 2


def t_power(effect: float, n: int, *, level: float = 0.95) -> float:
    """Return the chance that the t interval of n normal replicates lies wholly beyond the threshold.

    `effect` is the distance of the true mean from the threshold in standard deviations of a replicate; only
    the interval on the true side counts. Raises ValueError for n below 2 or a level outside (0, 1).
    """
    if n < 2 or not 0 < level < 1:
        raise ValueError(f"power needs n >= 2 and a level in (0, 1), not n = {n} and level = {level}")
    critical = stdtrit(n - 1, (1 + level) / 2)
    # given the sample variance, a normal probability; averaged over the quantiles of the variance
    spread = np.sqrt(chi2.ppf(_PROBABILITIES, n - 1) / (n - 1))
    return float(_SHARES @ ndtr(abs(effect) * np.sqrt(n) - critical * spread))


def n_to_decide(
    values: Float[np.ndarray, " n"], *, threshold: int | float, level: float = 0.95, power: float = 0.8
) -> int | None:
    """Return the smallest number of replicates whose t interval excludes `threshold` with chance `power`.

    Assumes that mean and standard deviation are those of `values` (paired differences or one number a unit)
    and that replicates are normal and independent; it is as uncertain as these two estimates. None when
    nothing can be said: fewer than two values, a mean equal to the threshold, or more than `MOST`.
    Raises ValueError for values that are not finite, or a power or level outside (0, 1).
    """
    if not 0 < power < 1 or not 0 < level < 1:
        raise ValueError(f"power {power} and level {level} must lie in (0, 1)")
    if not np.isfinite(values).all():
        raise ValueError("n_to_decide needs finite values")
    if values.size < 2:
        return None
    distance = abs(float(values.mean(dtype=np.float64)) - threshold)
    spread = float(values.std(ddof=1, dtype=np.float64))
    if distance == 0:
        return None
    if spread == 0:
        return 2
    return _smallest(distance / spread, level, power)


def _smallest(effect: float, level: float, power: float) -> int | None:
    """Return the smallest n with enough power, which grows with n: double, then halve the gap."""
    high = 2
    while t_power(effect, high, level=level) < power:
        if high >= MOST:
            return None
        high = min(2 * high, MOST)
    low = max(2, high // 2)
    while low < high:
        middle = (low + high) // 2
        if t_power(effect, middle, level=level) < power:
            low = middle + 1
        else:
            high = middle
    return high
