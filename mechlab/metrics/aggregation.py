"""One score an image from its patch scores.

Source: notes on MoLE-Flow, score aggregation (M18), with its default of each mode.
"""

import numpy as np
from jaxtyping import Float

from mechlab.errors import MechlabError, unknown
from mechlab.metrics.attention import attended
from mechlab.metrics.clustering import cluster_ratio

# quantile, count, share, weight, strength
DEFAULTS = {
    "percentile": 0.99,
    "top_k": 10.0,
    "top_k_percent": 0.05,
    "spatial_cluster": 0.5,
    "attention": 1.0,
}
ADAPTIVE = "adaptive"  # attention with a strength of each task's own
MODES = ("max", "mean", *DEFAULTS, ADAPTIVE)


def aggregate(
    maps: Float[np.ndarray, "item row column"], mode: str, value: int | float | None = None
) -> Float[np.ndarray, " item"]:
    """Return one score an image, in the unit of the patch scores, float64.

    `max`, `mean`: over all patches, no value. `percentile`: the quantile `value` in [0, 1], linear between
    patches. `top_k`: mean of the `value` highest patches. `top_k_percent`: mean of the highest share `value`
    in (0, 1], rounded down, one patch at least. `spatial_cluster`: t + `value` · r · |t|, where t is the
    mean of the 10 highest patches and r the share of the image's high patches that stand together
    (`clustering.cluster_ratio`); the published t (1 + `value` · r) is the same for t ≥ 0, and would lower the
    score of a cluster below. `attention`: weights that follow the scores (`attention.attended`); `adaptive`:
    that with a strength a task, which a map does not tell, so a ValueError here.
    Without a value the mode's default of `DEFAULTS` holds.
    Raises MechlabError for an unknown mode, a value the mode does not take, and one out of range.
    """
    check(mode, value, patches=maps.shape[1] * maps.shape[2])
    double = maps.astype(np.float64)
    flat = double.reshape(maps.shape[0], -1)  # item, row * column
    if mode in ("max", "mean"):
        return np.asarray(flat.max(axis=1) if mode == "max" else flat.mean(axis=1))
    if mode == ADAPTIVE:
        raise ValueError("an adaptive aggregation needs the strength of each map's task: see Scoring")
    chosen = DEFAULTS[mode] if value is None else value
    if mode == "attention":
        return attended(double, chosen)
    if mode == "percentile":
        return np.asarray(np.quantile(flat, chosen, axis=1))
    if mode == "spatial_cluster":
        highest = _top_mean(flat, _count(mode, DEFAULTS["top_k"], flat.shape[1]))
        return np.asarray(highest + chosen * cluster_ratio(double) * np.abs(highest))
    return _top_mean(flat, _count(mode, chosen, flat.shape[1]))


def check(mode: str, value: int | float | None, *, patches: int | None = None) -> None:
    """Refuse a mode that does not exist and a value that it cannot take on maps of so many patches, if known.

    Raises:
        MechlabError: an unknown mode, a value the mode does not take, and one out of range.
    """
    if mode not in MODES:
        raise unknown("aggregation", mode, MODES)
    if value is None:
        return
    if mode in ("max", "mean", ADAPTIVE):
        raise MechlabError(f"aggregation '{mode}' takes no value, but {value:g} was given; leave it out.")
    if mode == "percentile" and not 0 <= value <= 1:
        raise _out_of_range(mode, value, "a quantile from 0 to 1")
    if mode == "top_k" and (not float(value).is_integer() or not 1 <= value <= (patches or np.inf)):
        raise _out_of_range(mode, value, f"a whole number from 1 to {patches or 'N'}, the patches of a map")
    if mode == "top_k_percent" and not 0 < value <= 1:
        raise _out_of_range(mode, value, "a share above 0 and up to 1")
    if mode == "spatial_cluster" and not 0 <= value < np.inf:
        raise _out_of_range(mode, value, "a weight of 0 or more")
    if mode == "attention" and not 0 <= value < np.inf:
        raise _out_of_range(mode, value, "a strength of 0 or more")


def refuse_few(mode: str, value: int | float | None, *, patches: int) -> None:
    """Refuse an aggregation that cannot score maps of so many patches.

    Raises:
        MechlabError: more patches to average than a map has.
    """
    check(mode, value, patches=patches)
    if mode in ("top_k", "spatial_cluster"):
        count = DEFAULTS["top_k"] if value is None or mode == "spatial_cluster" else value
        _count(mode, count, patches)


def _count(mode: str, value: int | float, patches: int) -> int:
    """Return how many patches are averaged; more than there are is a MechlabError."""
    if mode == "top_k_percent":
        return max(1, int(patches * value + 1e-9))
    if value > patches:
        raise MechlabError(
            f"aggregation '{mode}' averages {value:g} patches, and a map has {patches}; give "
            f"top_k with a value up to {patches}."
        )
    return int(value)


def _top_mean(flat: np.ndarray, count: int) -> np.ndarray:
    """Return the mean of the `count` highest values of each row."""
    start = flat.shape[1] - count
    highest: np.ndarray = np.partition(flat, start, axis=1)[:, start:]
    return np.asarray(highest.mean(axis=1))


def _out_of_range(mode: str, value: int | float, allowed: str) -> MechlabError:
    return MechlabError(f"aggregation '{mode}' was given {value:g}; give {allowed}.")
