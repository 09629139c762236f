"""A few centres that stand for many vectors: k-means without chance.

Source: Lloyd 1982, begun with the farthest points of Gonzalez 1985, from the vector nearest to the mean.
"""

import numpy as np
from jaxtyping import Float

ROUNDS = 100  # Lloyd's rounds at most; it ends earlier where no vector changes its centre


def prototypes(samples: Float[np.ndarray, "item dim"], count: int) -> Float[np.ndarray, "{count} dim"]:
    """Return `count` centres in the samples' unit, each the mean of the samples nearest to it, float64.

    One centre is the mean. A function of the set of samples: no random start, whatever their order up to
    ties. Raises ValueError for a count below 1 or above the number of distinct samples.
    """
    values = np.asarray(samples, dtype=np.float64)
    if not 1 <= count <= len(np.unique(values, axis=0)):
        raise ValueError(f"{count} prototypes of {len(np.unique(values, axis=0))} distinct samples")
    start = np.linalg.norm(values - values.mean(axis=0), axis=1).argmin()
    centres = values[[start]]
    while len(centres) < count:
        farthest = _distances(values, centres).min(axis=1).argmax()
        centres = np.concatenate([centres, values[[farthest]]])
    nearest = _distances(values, centres).argmin(axis=1)
    for _ in range(ROUNDS):
        # A centre that no sample is nearest to any more stays where it is.
        centres = np.stack([
            values[nearest == index].mean(axis=0) if (nearest == index).any() else centre
            for index, centre in enumerate(centres)
        ])  # fmt: skip
        before, nearest = nearest, _distances(values, centres).argmin(axis=1)
        if np.array_equal(before, nearest):
            break
    return centres


def _distances(values: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the distances (item, centre)."""
    return np.stack([np.linalg.norm(values - centre, axis=1) for centre in centres], axis=1)
