"""How much of an image's high-scoring area is connected: a defect clusters, noise scatters.

Source: notes on MoLE-Flow, spatial clustering score (M18). The notes leave the threshold of "high" open.
Here a patch is high if it lies more than `DEVIATIONS` standard deviations above the mean of its own image: a
function of the map alone, which no shift or positive scale of the scores moves and which follows the size
of a defect, where a fixed share of patches would fill up with noise beside a small one.
"""

import numpy as np
from jaxtyping import Float
from scipy.ndimage import binary_dilation, binary_erosion

DEVIATIONS = 2.0  # of normal noise one patch in 44 is as high
NEIGHBOURS = np.ones((1, 3, 3), dtype=bool)  # of an image alone


def cluster_ratio(maps: Float[np.ndarray, "item row column"]) -> Float[np.ndarray, " item"]:
    """Return the share of each image's high patches that a 3 x 3 square of high patches covers, in [0, 1].

    This is the opening (erosion, then dilation) of the mask of high patches over the mask itself. Beyond the
    border every patch counts as high, so that a defect in a corner is a cluster. 0 where no patch is high.
    """
    mean, deviation = maps.mean(axis=(1, 2), keepdims=True), maps.std(axis=(1, 2), keepdims=True)
    rounding = np.finfo(maps.dtype).eps * np.abs(maps).max(axis=(1, 2), keepdims=True, initial=0.0)
    high = (maps > mean + DEVIATIONS * deviation) & (deviation > rounding)  # a constant image has none
    eroded = binary_erosion(high, NEIGHBOURS, border_value=1)
    opened = binary_dilation(eroded, NEIGHBOURS) & high
    count = high.sum(axis=(1, 2))
    return np.asarray(opened.sum(axis=(1, 2)) / np.maximum(count, 1), dtype=np.float64)
