"""The photograph of a part: exposure, slanting light, contrast and sensor noise differ each time.

They vary more than any defect changes a picture's mean, its deviation or its distance from the mean
picture, so that these trivial statistics say little about defects.
"""

import numpy as np
from jaxtyping import Float, UInt8

from reproductions.datasets.embedded.texture import grid


def photograph(
    picture: Float[np.ndarray, "height width 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "height width 3"]:
    """Expose a painted part (0..255)."""
    row, column = grid()
    exposure = rng.uniform(0.90, 1.10)
    slope = rng.uniform(-0.08, 0.08, 2)
    contrast = rng.uniform(0.92, 1.08)
    light = exposure * (
        1.0 + slope[0] * (row / len(row) - 0.5) * 2 + slope[1] * (column / len(row) - 0.5) * 2
    )
    exposed = picture * light[..., None]
    middle = exposed.mean()
    exposed = middle + contrast * (exposed - middle) + rng.uniform(-5.0, 5.0)
    exposed += rng.normal(0.0, 2.5, light.shape)[..., None]
    return np.clip(np.rint(exposed), 0, 255).astype(np.uint8)
