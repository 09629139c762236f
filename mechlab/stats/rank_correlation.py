"""Does one quantity follow another, whatever the shape? Spearman's correlation, and the shape in tenths.

Source: Spearman 1904; ties share their mean rank.
"""

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

TENTHS = 10


def rank_correlation(
    x: Float[np.ndarray, "*many n"], y: Float[np.ndarray, "*many n"]
) -> Float[np.ndarray, "*many"]:
    """Return Spearman's correlation along the last axis; 0 where a side is constant: it follows nothing."""
    ranks = [rankdata(values, axis=-1) - (values.shape[-1] + 1) / 2 for values in (x, y)]
    norm = np.sqrt((ranks[0] ** 2).sum(-1) * (ranks[1] ** 2).sum(-1))
    product = (ranks[0] * ranks[1]).sum(-1)
    return np.asarray(np.divide(product, norm, out=np.zeros_like(norm), where=norm > 0))


def tenths(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> Float[np.ndarray, " tenth"]:
    """Return the mean of y in each tenth of x, lowest first, over the mean of all.

    Raises ValueError for fewer than ten values, and where the mean of y is 0.
    """
    if len(x) < TENTHS:
        raise ValueError(f"{len(x)} values make no tenths; give {TENTHS} or more")
    if not y.mean():
        raise ValueError("values of mean 0 have no tenths over their mean")
    order = np.argsort(x, kind="stable")
    parts = np.array([part.mean() for part in np.array_split(y[order], TENTHS)])
    return np.asarray(parts / y.mean())
