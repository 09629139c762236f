"""A weighted mean of an image's patches whose weights follow the scores: from the mean to the highest.

The weights are a softmax of strength · z, z the score of a patch in standard deviations from its image's
mean. Source: notes 004 L2621 (a learned weighting, so that small defects are not thinned out by a fixed
number of patches; no formula).
"""

import numpy as np
from jaxtyping import Float
from scipy.special import softmax


def attended(maps: Float[np.ndarray, "item row column"], strength: int | float) -> Float[np.ndarray, " item"]:
    """Return one score an image, in the unit of the patch scores; strength 0 is the mean, infinity the top.

    A shift or a positive scale of the scores shifts or scales it. A constant image has its constant.
    """
    flat = maps.reshape(len(maps), -1)
    if np.isinf(strength):
        return np.asarray(flat.max(axis=1))
    deviation = flat.std(axis=1, keepdims=True)
    away = flat - flat.mean(axis=1, keepdims=True)
    z = np.divide(away, deviation, out=np.zeros_like(away), where=deviation > 0)
    return np.asarray((softmax(strength * z, axis=1) * flat).sum(axis=1))
