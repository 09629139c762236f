"""How well do anomaly maps rank defective pixels above normal ones? Exact, over all pixels of a test set.

Source: Bergmann et al. 2021 (MVTec AD, pixel-wise ROC); each pixel of each image counts the same.
"""

import numpy as np
from jaxtyping import Bool, Float

from mechlab.metrics.ranking import auroc, average_precision


def pixel_auroc(
    maps: Float[np.ndarray, "item height width"], masks: Bool[np.ndarray, "item height width"]
) -> float:
    """Return the AUROC over all pixels of all items; images without a defect give negatives only.

    Raises ValueError when shapes differ, a score is NaN, or no pixel (or every pixel) is defective.
    """
    return auroc(*_flat(maps, masks))


def pixel_ap(
    maps: Float[np.ndarray, "item height width"], masks: Bool[np.ndarray, "item height width"]
) -> float:
    """Return the average precision over all pixels of all items; chance is the share of defective pixels.

    Raises ValueError as `pixel_auroc` does.
    """
    return average_precision(*_flat(maps, masks))


def _flat(maps: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return scores and labels as two flat arrays, or raise ValueError."""
    if maps.shape != masks.shape:
        raise ValueError(f"maps of shape {maps.shape} but masks of shape {masks.shape}; they must be equal")
    return maps.reshape(-1), masks.reshape(-1)
