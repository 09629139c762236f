"""Antialiased drawing: shapes are filled at three times the resolution and averaged down.

Coordinates are (x, y) in pixels of the part, before its pose on the picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw

SIZE = 224  # pixels of a picture, square
FINE = 3  # pixels of the drawing for each pixel of the picture, along one axis

Ink = int | tuple[int, int, int]
Number = int | float
Point = tuple[Number, Number]  # (x, y), or (width, height)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """Where the part lies: turned by `angle` (radians) about the middle of the picture, then shifted."""

    angle: float
    shift: Point

    @classmethod
    def drawn(cls, rng: np.random.Generator, *, angle: float, shift: float) -> "Pose":
        """Draw a pose of at most `angle` degrees and `shift` pixels along each axis."""
        turn, right, down = rng.uniform(-1.0, 1.0, 3)
        return cls(angle=float(np.radians(turn * angle)), shift=(float(right * shift), float(down * shift)))

    def place(self, points: Sequence[Point]) -> list[Point]:
        """Return the places on the picture of points of the part."""
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        middle = SIZE / 2
        return [
            (
                float(middle + self.shift[0] + cosine * (x - middle) - sine * (y - middle)),
                float(middle + self.shift[1] + sine * (x - middle) + cosine * (y - middle)),
            )
            for x, y in points
        ]


class Canvas:
    """A drawing of one part in its pose."""

    def __init__(self, pose: Pose, *, background: Ink) -> None:
        """Fill the canvas: an integer makes a grey canvas, three make a colour canvas."""
        mode = "L" if isinstance(background, int) else "RGB"
        self._pose = pose
        self._image = Image.new(mode, (SIZE * FINE, SIZE * FINE), background)
        self._draw = ImageDraw.Draw(self._image)

    def _fine(self, points: Sequence[Point]) -> list[Point]:
        return [(x * FINE, y * FINE) for x, y in self._pose.place(points)]

    def polygon(self, corners: Sequence[Point], ink: Ink) -> None:
        """Fill a polygon."""
        self._draw.polygon(self._fine(corners), fill=ink)

    def box(self, centre: Point, size: Point, ink: Ink, *, turn: float = 0.0) -> None:
        """Fill a rectangle of (width, height), turned by `turn` radians about its centre."""
        cosine, sine = np.cos(turn), np.sin(turn)
        half = [(sx * size[0] / 2, sy * size[1] / 2) for sx, sy in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        self.polygon(
            [(centre[0] + cosine * x - sine * y, centre[1] + sine * x + cosine * y) for x, y in half], ink
        )

    def disc(self, centre: Point, radius: float, ink: Ink) -> None:
        """Fill a disc."""
        ((x, y),) = self._fine([centre])
        reach = radius * FINE
        self._draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=ink)

    def line(self, points: Sequence[Point], *, width: float, ink: Ink) -> None:
        """Draw a line of `width` pixels through several points, with round joints."""
        self._draw.line(self._fine(points), fill=ink, width=max(1, round(width * FINE)), joint="curve")

    def pixels(self) -> Float[np.ndarray, "height width *channel"]:
        """Return the drawing at the resolution of the picture, in 0..255."""
        return np.asarray(self._image.reduce(FINE), dtype=np.float64)
