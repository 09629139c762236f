"""The tail of an image, its patches of highest NLL: which share of a gradient falls on them, and why.

Source: tail-aware loss of MoLE-Flow, (1 - weight) * mean over patches + weight * mean over the tail.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from mechlab.errors import MechlabError

DISTANCES = ("0", "1", "2", "3-4", "5-8", "9+")  # chessboard distance to the tail, in patches; 0 is the tail
_EDGES = (0, 1, 2, 3, 5, 9)


@dataclass(frozen=True, slots=True)
class TailLoss:
    """(1 - weight) * mean + weight * mean over the max(1, floor(N * ratio)) hardest of N patches."""

    weight: float  # in [0, 1]; 0 is the mean loss
    ratio: float  # in (0, 1]

    @classmethod
    def named(cls, name: str) -> "TailLoss":
        """Read "mean" or "tail:<weight>:<ratio>"; any other name is a MechlabError."""
        if name == "mean":
            return cls(0.0, 1.0)
        kind, *numbers = name.split(":")
        try:
            weight, ratio = (float(number) for number in numbers)
        except ValueError:
            weight = ratio = np.nan
        if kind != "tail" or not 0 <= weight <= 1 or not 0 < ratio <= 1:
            raise MechlabError(
                f"'{name}' is no loss with a tail; allowed are 'mean' and 'tail:<weight>:<ratio>' with a "
                "weight from 0 to 1 and a ratio above 0 and up to 1, e.g. 'tail:0.7:0.02'."
            )
        return cls(weight, ratio)


def tail_of(scores: Float[np.ndarray, "row column"], *, ratio: float) -> Bool[np.ndarray, "row column"]:
    """Return the max(1, floor(N * ratio)) patches of highest NLL; of equal ones the first in raster order.

    Raises ValueError for a ratio outside (0, 1] and for NaN.
    """
    if not 0 < ratio <= 1:
        raise ValueError(f"the tail's ratio must lie above 0 and be at most 1, not {ratio}")
    if np.isnan(scores).any():
        raise ValueError("scores hold NaN; a NaN has no rank")
    count = max(1, int(scores.size * ratio))
    mask = np.zeros(scores.size, dtype=bool)
    mask[np.argsort(-scores, axis=None, kind="stable")[:count]] = True
    return mask.reshape(scores.shape)


def tail_share(values: Float[np.ndarray, "row column"], tail: Bool[np.ndarray, "row column"]) -> float:
    """Return the tail's share of the sum of `values`.

    Raises ValueError unless they are finite, not negative, and somewhere positive.
    """
    if not (np.isfinite(values).all() and (values >= 0).all() and values.any()):
        raise ValueError("a share needs finite values that are not negative and not all zero")
    total = values.sum(dtype=np.float64)
    return float(values[tail].sum(dtype=np.float64) / total)


def weight_share(weight: float, *, patches: int, tail: int) -> float:
    """Return the share that the loss weights give a tail of `tail` among `patches` equally steep patches."""
    return weight + (1.0 - weight) * tail / patches


def reweighted_share(share: float, weight: float, *, patches: int, tail: int) -> float:
    """Return the tail's share under `weight` when its share under the mean loss is `share`.

    Exact when no patch acts on another, so that changing the loss only rescales each patch's own term.
    """
    on_tail = (weight * patches / tail + 1.0 - weight) * share
    return on_tail / (on_tail + (1.0 - weight) * (1.0 - share))


def random_tails(
    values: Float[np.ndarray, "row column"], *, weight: float, tail: int, draws: int, seed: int
) -> Float[np.ndarray, " draw"]:
    """Return log(share / weight_share) when the weights of a tail fall on random patches.

    `values` are contributions under the mean loss. The null in which hard patches are no steeper than
    others; its mean lies a little below 0 (Jensen's inequality).
    """
    rng = np.random.default_rng(seed)
    flat = values.ravel().astype(np.float64)
    chosen = np.stack([rng.choice(flat, size=tail, replace=False) for _ in range(draws)])  # draw, patch
    shares = chosen.sum(axis=1) / flat.sum()
    given = [reweighted_share(float(share), weight, patches=flat.size, tail=tail) for share in shares]
    return np.asarray(np.log(given) - np.log(weight_share(weight, patches=flat.size, tail=tail)))


def distance_profile(
    values: Float[np.ndarray, "row column"], tail: Bool[np.ndarray, "row column"]
) -> Float[np.ndarray, " bin"]:
    """Return the mean of `values` in each bin of `DISTANCES` over that of the image; NaN in an empty bin."""
    distance = ndimage.distance_transform_cdt(~tail, metric="chessboard")
    place = np.searchsorted(_EDGES, distance.ravel(), side="right") - 1
    count = np.bincount(place, minlength=len(_EDGES))
    total = np.bincount(place, weights=values.ravel().astype(np.float64), minlength=len(_EDGES))
    means = np.where(count, total, np.nan) / np.maximum(count, 1)
    return np.asarray(means / values.mean(dtype=np.float64))


def amplification_values(means: Mapping[str, Float[np.ndarray, " n"]]) -> Float[np.ndarray, " n"] | None:
    """Return jackknife values of log amplification: (tail / other at weight 1) / (tail / other at weight 0).

    `means` holds each image's mean input gradient `tail_1`, `other_1`, `tail_0`, `other_0`. None when one of
    them is 0 in all images but one: without a path between patches the ratio is infinite by construction.
    """
    n = len(means["tail_0"])
    totals = {name: float(np.sum(value)) for name, value in means.items()}
    left_out = {name: totals[name] - np.asarray(value, dtype=np.float64) for name, value in means.items()}
    if (
        n < 2
        or any(total <= 0 for total in totals.values())
        or any((left <= 0).any() for left in left_out.values())
    ):
        return None

    def amplification(of: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a number or an array
        return np.log(of["tail_1"]) - np.log(of["other_1"]) - np.log(of["tail_0"]) + np.log(of["other_0"])

    pseudo: np.ndarray = n * amplification(totals) - (n - 1) * amplification(left_out)
    return pseudo
