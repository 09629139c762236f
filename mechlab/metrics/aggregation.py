"""One score an image from its patch scores.

Source: notes on MoLE-Flow, score aggregation (M18), with its default of each mode.
"""

import numpy as np
from jaxtyping import Float

from mechlab.errors import MechlabError, unknown

DEFAULTS = {"percentile": 0.99, "top_k": 10.0, "top_k_percent": 0.05}  # quantile, count, share
MODES = ("max", "mean", *DEFAULTS)


def aggregate(
    maps: Float[np.ndarray, "item row column"], mode: str, value: int | float | None = None
) -> Float[np.ndarray, " item"]:
    """Return one score an image, in the unit of the patch scores, float64.

    `max`, `mean`: over all patches, no value. `percentile`: the quantile `value` in [0, 1], linear between
    patches. `top_k`: mean of the `value` highest patches. `top_k_percent`: mean of the highest share `value`
    in (0, 1], rounded down, one patch at least. Without a value the mode's default of `DEFAULTS` holds.
    Raises MechlabError for an unknown mode, a value the mode does not take, and one out of range.
    """
    if mode not in MODES:
        raise unknown("aggregation", mode, MODES)
    flat = maps.reshape(maps.shape[0], -1).astype(np.float64)  # item, row * column
    if mode in ("max", "mean"):
        if value is not None:
            raise MechlabError(f"aggregation '{mode}' takes no value, but {value:g} was given; leave it out.")
        return np.asarray(flat.max(axis=1) if mode == "max" else flat.mean(axis=1))
    chosen = DEFAULTS[mode] if value is None else value
    if mode == "percentile":
        if not 0 <= chosen <= 1:
            raise _out_of_range(mode, chosen, "a quantile from 0 to 1")
        return np.asarray(np.quantile(flat, chosen, axis=1))
    return _top_mean(flat, _count(mode, chosen, flat.shape[1]))


def _count(mode: str, value: int | float, patches: int) -> int:
    """Return how many patches are averaged, or raise MechlabError."""
    if mode == "top_k":
        if not float(value).is_integer() or not 1 <= value <= patches:
            raise _out_of_range(mode, value, f"a whole number from 1 to {patches}, the patches of a map")
        return int(value)
    if not 0 < value <= 1:
        raise _out_of_range(mode, value, "a share above 0 and up to 1")
    return max(1, int(patches * value + 1e-9))


def _top_mean(flat: np.ndarray, count: int) -> np.ndarray:
    """Return the mean of the `count` highest values of each row."""
    start = flat.shape[1] - count
    highest: np.ndarray = np.partition(flat, start, axis=1)[:, start:]
    return np.asarray(highest.mean(axis=1))


def _out_of_range(mode: str, value: int | float, allowed: str) -> MechlabError:
    return MechlabError(f"aggregation '{mode}' was given {value:g}; give {allowed}.")
