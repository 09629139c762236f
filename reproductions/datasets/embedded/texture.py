"""Noise of a chosen grain, blobs and pixel coordinates: what surfaces are made of."""

import numpy as np
from jaxtyping import Float
from PIL import Image

from reproductions.datasets.embedded.canvas import SIZE, Number


def grid() -> tuple[Float[np.ndarray, "height 1"], Float[np.ndarray, "1 width"]]:
    """Return the row and column of each pixel's centre, ready to broadcast."""
    centres = np.arange(SIZE) + 0.5
    return centres[:, None], centres[None, :]


def noise(
    rng: np.random.Generator, *, rows: Number, columns: Number | None = None
) -> Float[np.ndarray, "height width"]:
    """Return smooth noise about 0 with a deviation near 1: one random knot every `rows` x `columns` pixels.

    Knots lie on a grid with a random offset and are joined by bicubic interpolation.
    """
    steps = (rows, rows if columns is None else columns)
    knots = [int(np.ceil(SIZE / step)) + 4 for step in steps]
    values = Image.fromarray(rng.normal(0.0, 1.4, knots).astype(np.float32))
    top, left = rng.uniform(1.0, 2.0, 2)
    window = (left, top, left + SIZE / steps[1], top + SIZE / steps[0])
    return np.asarray(values.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=window), dtype=np.float64)


def blob(
    rng: np.random.Generator, *, centre: tuple[float, float], radius: tuple[float, float], soft: float
) -> Float[np.ndarray, "height width"]:
    """Return the cover (0..1) of a lopsided ellipse at (row, column), fading over about `soft` pixels.

    Each of the two half-axes is drawn between the two radii (pixels).
    """
    row, column = grid()
    tilt, phase = rng.uniform(0.0, 2 * np.pi, 2)
    first, second = rng.uniform(*radius, 2)
    down, right = row - centre[0], column - centre[1]
    along = right * np.cos(tilt) + down * np.sin(tilt)
    across = down * np.cos(tilt) - right * np.sin(tilt)
    wobble = 1.0 + 0.13 * np.sin(3 * np.arctan2(across, along) + phase)
    distance = np.hypot(along / first, across / second) / wobble  # 1 on the rim
    return np.clip(0.5 + (1.0 - distance) * np.sqrt(first * second) / soft, 0.0, 1.0)


def mixed(
    picture: Float[np.ndarray, "height width 3"],
    colour: tuple[float, float, float],
    cover: Float[np.ndarray, "height width"],
) -> Float[np.ndarray, "height width 3"]:
    """Lay a colour over a picture where `cover` (0..1) says so."""
    return picture + cover[..., None] * (np.asarray(colour) - picture)
