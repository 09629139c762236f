"""Images turned, and images damaged by a piece of themselves, with the mask of the damage.

Source: notes 004 L3457 (rotation of training images), L2660 (pseudo-anomalies); Li et al., CVPR 2021
(CutPaste: a patch of 2 to 15 % of the area, sides in a ratio of 0.3 to 3.3, pasted elsewhere in the image).
"""

import math

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

AREA = (0.02, 0.15)  # of the image
ASPECT = (0.3, 3.3)  # height over width, log-uniform


def turned(image: UInt8[np.ndarray, "side side 3"], degrees: float) -> UInt8[np.ndarray, "side side 3"]:
    """Return the image turned counter-clockwise about its middle, bilinear; black comes in at the corners.

    Multiples of 90 degrees only move pixels, as `numpy.rot90` does.
    """
    return np.asarray(Image.fromarray(image).rotate(degrees, resample=Image.Resampling.BILINEAR))


def cut_and_pasted(
    image: UInt8[np.ndarray, "height width 3"], draw: np.random.Generator
) -> tuple[UInt8[np.ndarray, "height width 3"], Bool[np.ndarray, "height width"]]:
    """Return the image with a piece of itself pasted at another place, and the mask of what was pasted over.

    Outside the mask no pixel changes. Where the piece equals what it covers, neither does one inside.
    """
    height, width = image.shape[:2]
    high, wide = _sides(height, width, draw)
    rows, columns = (draw.integers(0, limit + 1, size=2) for limit in (height - high, width - wide))
    damaged = image.copy()
    damaged[rows[1] : rows[1] + high, columns[1] : columns[1] + wide] = image[
        rows[0] : rows[0] + high, columns[0] : columns[0] + wide
    ]
    mask = np.zeros((height, width), dtype=bool)
    mask[rows[1] : rows[1] + high, columns[1] : columns[1] + wide] = True
    return damaged, mask


def rectangle(height: int, width: int, draw: np.random.Generator) -> Bool[np.ndarray, "height width"]:
    """Return the mask of a rectangle of that size and shape, at a random place."""
    high, wide = _sides(height, width, draw)
    row, column = draw.integers(0, height - high + 1), draw.integers(0, width - wide + 1)
    mask = np.zeros((height, width), dtype=bool)
    mask[row : row + high, column : column + wide] = True
    return mask


def _sides(height: int, width: int, draw: np.random.Generator) -> tuple[int, int]:
    area = draw.uniform(*AREA) * height * width
    aspect = math.exp(draw.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
    high = min(height, max(1, round(math.sqrt(area * aspect))))
    wide = min(width, max(1, round(math.sqrt(area / aspect))))
    return high, wide
