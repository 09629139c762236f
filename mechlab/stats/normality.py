"""How far are latents from N(0, I)? Effect sizes that do not grow with n, a row being one patch or one image.

No p-values: with patches of one image as rows they reject exact normality, and at 1e6 rows they report n.
Put an interval over images (or a simulated null of the same shape) beside each. Sources: Filliben 1975 (QQ
correlation), Bonneel et al. 2015 (sliced distance), Mardia 1970 (multivariate kurtosis).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri
from scipy.stats import chi2

_VALUES = 4_000_000  # values sorted at once, in double precision

Rows = Float[np.ndarray, "sample dim"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Moments of each dimension; N(0, 1) has 0, 1, 0, 0."""

    mean: Float[np.ndarray, " dim"]
    std: Float[np.ndarray, " dim"]
    skew: Float[np.ndarray, " dim"]  # third standardised moment
    excess_kurtosis: Float[np.ndarray, " dim"]  # fourth standardised moment less 3


def wasserstein_normal(z: Rows) -> Float[np.ndarray, " dim"]:
    """Return each dimension's 2-Wasserstein distance to N(0, 1), in units of z.

    Exact for the sample: each sorted value is matched with its 1/n of the normal quantile function. A shift
    by m gives about |m| and a scale s about |s - 1|; a sample of N(0, 1) gives more than 0, the less the
    larger n (its null). Raises ValueError for no rows or values not finite.
    """
    _check(z, 1)
    centre, remainder = _normal_pieces(z.shape[0])
    gaps = [np.mean((block - centre) ** 2, axis=1) for block in _sorted_dims(z)]
    return np.asarray(np.sqrt(np.concatenate(gaps) + remainder))


def qq_correlation(z: Rows) -> Float[np.ndarray, " dim"]:
    """Return each dimension's correlation of sorted values with normal order medians; 1 is a straight line.

    It ignores shift and scale, so read it beside the moments. Filliben's medians are used. Raises ValueError
    for fewer than three rows, a constant dimension or values not finite.
    """
    _check(z, 3)
    n = z.shape[0]
    probability = (np.arange(1, n + 1) - 0.3175) / (n + 0.365)
    probability[-1] = 0.5 ** (1 / n)
    probability[0] = 1 - probability[-1]
    line = ndtri(probability)
    line /= np.linalg.norm(line)
    pieces = []
    for block in _sorted_dims(z):
        _refuse_constant(block[:, -1] == block[:, 0])
        centred = block - block.mean(axis=1, keepdims=True)
        pieces.append(centred @ line / np.linalg.norm(centred, axis=1))
    return np.concatenate(pieces)


def moments(z: Rows) -> Moments:
    """Return mean, standard deviation (over n), skewness and excess kurtosis of each dimension, in float64.

    Raises ValueError for fewer than two rows, a constant dimension or values not finite.
    """
    _check(z, 2)
    _refuse_constant(z.max(axis=0) == z.min(axis=0))
    columns: list[np.ndarray] = []
    for part in _dims(z):
        mean = part.mean(axis=1)
        centred = part - mean[:, None]
        variance = np.mean(centred**2, axis=1)
        third, fourth = np.mean(centred**3, axis=1), np.mean(centred**4, axis=1)
        columns.append(np.stack([mean, np.sqrt(variance), third / variance**1.5, fourth / variance**2 - 3]))
    mean, std, skew, kurtosis = np.concatenate(columns, axis=1)
    return Moments(mean=mean, std=std, skew=skew, excess_kurtosis=kurtosis)


def norm_distance(z: Rows) -> float:
    """Return the largest gap between the distribution of |z|² and chi-square with dim degrees; in [0, 1].

    The Kolmogorov-Smirnov statistic: sees a wrong scale, heavy tails and dependence between dimensions.
    Raises ValueError for no rows or values not finite.
    """
    _check(z, 1)
    n = z.shape[0]
    expected = chi2.cdf(np.sort(np.einsum("sd,sd->s", z, z, dtype=np.float64)), z.shape[1])
    steps = np.arange(n + 1) / n
    return float(max(np.max(steps[1:] - expected), np.max(expected - steps[:-1])))


def sliced_wasserstein(z: Rows, *, directions: int = 256, seed: int) -> Float[np.ndarray, " direction"]:
    """Return the 2-Wasserstein distance to N(0, 1) along each of `directions` random unit vectors.

    Take the mean (sliced distance) or the largest. Sees scale, correlation and radial tails; is blind to
    dependence that leaves such projections normal. Raises ValueError for fewer than one direction, no rows
    or values not finite.
    """
    if directions < 1:
        raise ValueError(f"a sliced distance needs at least one direction, not {directions}")
    _check(z, 1)
    random = np.random.default_rng(seed).standard_normal((z.shape[1], directions))
    random /= np.linalg.norm(random, axis=0)
    step = max(1, _VALUES // z.shape[0])
    wide = z.astype(np.float64)
    pieces = [wasserstein_normal(wide @ random[:, at : at + step]) for at in range(0, directions, step)]
    return np.concatenate(pieces)


def mardia_kurtosis(z: Rows) -> float:
    """Return Mardia's kurtosis over what a normal sample of this size and dimension has on average, less 1.

    0 for any multivariate normal (shift, scale and correlation are taken out first), positive for heavy
    joint tails, at least -1. Raises ValueError unless there are more rows than dimensions, with a covariance
    that can be inverted, and all values are finite.
    """
    _check(z, z.shape[1] + 1)
    n, dim = z.shape
    centred = z.astype(np.float64) - z.mean(axis=0, dtype=np.float64)
    covariance = centred.T @ centred / n
    try:
        root = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError as fault:
        raise ValueError("the covariance is singular: a dimension is constant or repeats others") from fault
    white = np.linalg.solve(root, centred.T)  # dim, sample
    kurtosis = np.mean(np.sum(white**2, axis=0) ** 2)
    return float(kurtosis / (dim * (dim + 2) * (n - 1) / (n + 1)) - 1)


def covariance_error(z: Rows) -> float:
    """Return ||C - I||_F / sqrt(dim) with C the covariance (over n - 1): 0 for white latents.

    Independent rows of N(0, I) give about sqrt((dim + 1) / (n - 1)), its null. Raises ValueError for fewer
    than two rows or values not finite.
    """
    _check(z, 2)
    centred = z.astype(np.float64) - z.mean(axis=0, dtype=np.float64)
    gap = centred.T @ centred / (len(z) - 1) - np.eye(z.shape[1])
    return float(np.linalg.norm(gap) / np.sqrt(z.shape[1]))


def _normal_pieces(n: int) -> tuple[np.ndarray, float]:
    """Return the mean of each 1/n of the normal quantile function, and the mean variance inside them."""
    edges = ndtri(np.arange(1, n) / n)
    density = np.concatenate(([0.0], np.exp(-(edges**2) / 2) / np.sqrt(2 * np.pi), [0.0]))
    centre = n * (density[:-1] - density[1:])
    return centre, float(max(0.0, 1.0 - np.mean(centre**2)))


def _dims(z: np.ndarray) -> Iterator[np.ndarray]:
    """Give blocks of dimensions as double-precision rows (dim, sample), bounded in memory."""
    step = max(1, _VALUES // z.shape[0])
    for start in range(0, z.shape[1], step):
        yield np.ascontiguousarray(z[:, start : start + step].T, dtype=np.float64)


def _sorted_dims(z: np.ndarray) -> Iterator[np.ndarray]:
    """Give `_dims` with each row sorted, ascending."""
    for block in _dims(z):
        yield np.sort(block, axis=1)  # a copy: the block may be a view of the caller's array


def _check(z: np.ndarray, least: int) -> None:
    if z.shape[0] < least or not z.shape[1]:
        raise ValueError(f"at least {least} rows and a dimension are needed, not {z.shape[0]} x {z.shape[1]}")
    if not np.isfinite(z).all():
        raise ValueError("latents must be finite")


def _refuse_constant(constant: np.ndarray) -> None:
    if constant.any():
        raise ValueError(
            f"{np.count_nonzero(constant)} dimensions are constant; leave them out and report them"
        )
