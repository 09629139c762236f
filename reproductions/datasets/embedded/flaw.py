"""Defects of a surface: scratch, stain and dent. Those of one part's construction stand with the part."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from reproductions.datasets.embedded.canvas import Canvas, Pose
from reproductions.datasets.embedded.texture import blob, mixed

Picture = Float[np.ndarray, "height width 3"]
Cover = Float[np.ndarray, "height width"]
FLAT = Pose(angle=0.0, shift=(0.0, 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """One defect: its kind, and a generator of its own, so that the part beneath stays the same."""

    kind: str  # "good": none
    rng: np.random.Generator


def spot(rng: np.random.Generator, where: Cover) -> tuple[float, float]:
    """Draw a (row, column) uniformly from the pixels that `where` covers fully."""
    rows, columns = np.nonzero(where > 0.99)
    chosen = rng.integers(len(rows))
    return float(rows[chosen]) + 0.5, float(columns[chosen]) + 0.5


def scratched(
    picture: Picture, rng: np.random.Generator, *, where: Cover, depths: tuple[float, ...]
) -> Picture:
    """Draw a bent line of 42 to 66 pixels that stays on `where`, one of `depths` grey levels brighter."""
    row, column = spot(rng, where)
    heading = rng.uniform(0.0, 2 * np.pi)
    points = [(column, row)]
    for _ in range(6):
        heading += rng.normal(0.0, 0.22)
        length = rng.uniform(7.0, 11.0)
        column, row = column + length * np.cos(heading), row + length * np.sin(heading)
        points.append((column, row))
    canvas = Canvas(FLAT, background=0)
    canvas.line(points, width=rng.uniform(2.2, 3.4), ink=255)
    cover = canvas.pixels() / 255 * where
    return picture + rng.choice(depths) * cover[..., None]


def stained(
    picture: Picture,
    rng: np.random.Generator,
    *,
    where: Cover,
    colour: tuple[float, float, float],
    strength: float,
) -> Picture:
    """Tint a blob of 6 to 12 pixels half-axis that stays on `where`."""
    cover = blob(rng, centre=spot(rng, where), radius=(6.0, 12.0), soft=3.0) * where
    return mixed(picture, colour, cover * strength * rng.uniform(0.85, 1.15))


def dented(picture: Picture, rng: np.random.Generator, *, where: Cover, depth: float) -> Picture:
    """Press a blob in or out: its slope catches or loses the light that comes from the upper left."""
    height = blob(rng, centre=spot(rng, where), radius=(7.0, 11.0), soft=7.0)
    fall, run = np.gradient(height)
    return picture + rng.choice([-1.0, 1.0]) * depth * ((fall + run) * where)[..., None]
