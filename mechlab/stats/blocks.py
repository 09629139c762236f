"""What is a metric of a time series worth? Blocks of time are the units: neighbours are not independent.

A metric such as F1 or AUROC is no mean of its windows; the delete-one-block jackknife turns it into one value
a block, whose mean has the interval of `mechlab.stats.intervals`. Sources: Tukey 1958 (pseudo-values);
Kuensch 1989 (jackknife of blocks for dependent observations).
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64

from mechlab.stats.intervals import Interval, interval

Statistic = Callable[[Bool[np.ndarray, " n"]], float | None]  # of the windows that are kept


def blocks_of_time(
    time: Float[np.ndarray, " n"], series: Int[np.ndarray, " n"], *, seconds: int | float
) -> Int64[np.ndarray, " n"]:
    """Return the number of each window's block, from 0: `seconds` of one series, from its first window on.

    `time` in seconds; `series` says which log a window is of, and no block has windows of two. The last block
    of a series is joined to the one before it if it has less than half of the seconds. Raises ValueError for
    a length that is not above 0.
    """
    if not seconds > 0:
        raise ValueError(f"a block of {seconds} seconds is none")
    found = np.zeros(time.size, dtype=np.int64)
    begin = 0
    for number in np.unique(series):
        rows = np.flatnonzero(series == number)
        since = time[rows] - time[rows].min()
        whole = max(1, int(np.floor(since.max() / seconds + 0.5)))
        own = np.minimum((since // seconds).astype(np.int64), whole - 1)
        found[rows] = begin + np.unique(own, return_inverse=True)[1]
        begin = int(found[rows].max()) + 1
    return found


def jackknife_values(
    statistic: Statistic, blocks: Int64[np.ndarray, " n"]
) -> Float64[np.ndarray, " block"] | None:
    """Return the pseudo-value of each block, n T - (n - 1) T without it; their mean estimates the statistic.

    None where the statistic is not defined on all windows or without one of the blocks.
    """
    numbers = np.unique(blocks)
    whole = statistic(np.ones(blocks.size, dtype=np.bool_))
    without = [statistic(blocks != number) for number in numbers]
    if whole is None or any(one is None for one in without):
        return None
    return numbers.size * whole - (numbers.size - 1) * np.array(without, dtype=np.float64)


def block_interval(
    statistic: Statistic,
    blocks: Int64[np.ndarray, " n"],
    *,
    bounds: tuple[int | float, int | float] = (0, 1),
    level: float = 0.95,
) -> Interval | None:
    """Return the interval of a statistic over blocks, cut to the values that it can have.

    None where it is not defined without some block, where there are fewer than two blocks, and where every
    block says the same: no spread was seen, which is not the same as none.
    """
    values = jackknife_values(statistic, blocks)
    if values is None or values.size < 2 or np.ptp(values) <= 1e-12 * max(1.0, abs(float(values[0]))):
        return None
    found = interval(values, level=level)
    low, high = bounds
    return Interval(min(max(found.low, low), high), max(min(found.high, high), low))
