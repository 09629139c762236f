"""How much of each defective image is found before normal images show false alarms? AUPIMO, exact.

Source: Bertoldo et al., BMVC 2024 (per-image overlap). The false-positive rate is that of normal images
alone, on a logarithmic axis from 1e-5 to 1e-4, and every defective image has a score of its own.
"""

import numpy as np
from jaxtyping import Bool, Float

LOWER, UPPER = 1e-5, 1e-4


def aupimo(
    maps: Float[np.ndarray, "item height width"],
    masks: Bool[np.ndarray, "item height width"],
    *,
    lower: float = LOWER,
    upper: float = UPPER,
) -> Float[np.ndarray, " defective"]:
    """Return one score for each item with a defective pixel, in order, each in [0, 1].

    At a threshold t the rate F(t) is the share of the pixels of normal items (those without a defective
    pixel) with score >= t, and the overlap T(t) of an item the share of its defective pixels with score >= t.
    The score is the mean of T over log F from `lower` to `upper`. At a rate between those of two thresholds,
    T is the overlap at the last threshold that does not exceed the rate: a step, nothing is interpolated.
    A constant map gives 0, a perfect one 1.
    Raises ValueError for unequal shapes, NaN, bounds that are not 0 < lower < upper <= 1, no defective item,
    and too few normal pixels to tell `lower`.
    """
    if maps.shape != masks.shape:
        raise ValueError(f"maps of shape {maps.shape} but masks of shape {masks.shape}; they must be equal")
    defective = masks.any(axis=(1, 2))
    if np.isnan(maps).any():
        raise ValueError("maps hold NaN; a NaN has no rank")
    rates = normal_rates(maps[~defective].reshape(-1), lower=lower, upper=upper)
    if not defective.any():
        raise ValueError("AUPIMO needs at least one defective item")
    return np.array(
        [image_area(values[mask], *rates, lower=lower, upper=upper)
         for values, mask in zip(maps[defective], masks[defective], strict=True)]
    )  # fmt: skip


def normal_rates(
    normal: Float[np.ndarray, " pixel"], *, lower: float = LOWER, upper: float = UPPER
) -> tuple[Float[np.ndarray, " threshold"], Float[np.ndarray, " threshold"]]:
    """Return thresholds, descending, and the rate of normal pixels at or above each, up to past `upper`."""
    check_bounds(normal.size, lower=lower, upper=upper)
    count = min(normal.size, int(np.ceil(upper * normal.size)) + 1)
    cut = np.partition(normal, normal.size - count)[normal.size - count]
    highest = np.sort(normal[normal >= cut])[::-1]  # with all that tie with the last one
    last = np.flatnonzero(np.append(highest[1:] != highest[:-1], True))
    return highest[last].astype(np.float64), (last + 1) / normal.size


def image_area(
    scores: Float[np.ndarray, " pixel"],
    thresholds: Float[np.ndarray, " threshold"],
    rates: Float[np.ndarray, " threshold"],
    *,
    lower: float = LOWER,
    upper: float = UPPER,
) -> float:
    """Return the mean overlap of one image over log rate; `scores` are those of its defective pixels.

    Between the rates of two neighbouring thresholds all thresholds above the lower one keep the rate of the
    higher one, so the overlap that can be had there is the share of pixels strictly above the next.
    """
    ascending = np.sort(scores)
    above = 1.0 - np.searchsorted(ascending, thresholds, side="right") / scores.size
    start = np.append(0.0, rates[:-1])  # the rate at which `above` can be had, up to `rates`
    width = np.log(np.clip(rates, lower, upper)) - np.log(np.clip(start, lower, upper))
    return float(above @ width / np.log(upper / lower))


def check_bounds(normal: int, *, lower: float, upper: float) -> None:
    """Raise ValueError for bounds that are none, or more precise than `normal` pixels can tell."""
    if not 0 < lower < upper <= 1:
        raise ValueError(f"bounds {lower} to {upper} are no rates with 0 < lower < upper <= 1")
    if normal * lower < 1:
        raise ValueError(
            f"{normal} pixels of normal items cannot tell a rate of {lower:g}; give at least "
            f"{int(np.ceil(1 / lower))} or a lower bound of {1 / max(normal, 1):g} or more"
        )
