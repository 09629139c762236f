"""A turned steel gear on dark felt: 16 teeth, a bore and six holes."""

import numpy as np
from scipy.ndimage import gaussian_filter

from reproductions.datasets.embedded.canvas import SIZE, Canvas, Point, Pose
from reproductions.datasets.embedded.flaw import Cover, Flaw, Picture, dented, scratched, stained
from reproductions.datasets.embedded.texture import grid, noise

DEFECTS = ("broken_tooth", "missing_hole", "scratch", "rust", "dent")
TEETH = 16
ROOT, TIP = 74.0, 86.0  # radii in pixels
BORE = 20.0
HOLES, HOLE_CIRCLE, HOLE = 6, 46.0, 9.0
MIDDLE = SIZE / 2
RUST = (112.0, 66.0, 34.0)


def paint(rng: np.random.Generator, flaw: Flaw) -> Picture:
    """Paint one gear in 0..255; the same generator state gives the same gear with or without a flaw."""
    pose = Pose.drawn(rng, angle=3.0, shift=4.0)
    steel = _outline(pose, flaw)
    picture = _shaded(steel, pose, rng)
    inside = (gaussian_filter(steel, 3.0) > 0.93) * steel
    if flaw.kind == "scratch":
        return scratched(picture, flaw.rng, where=inside, depths=(-100.0, 90.0))
    if flaw.kind == "rust":
        return stained(picture, flaw.rng, where=inside, colour=RUST, strength=0.6)
    if flaw.kind == "dent":
        return dented(picture, flaw.rng, where=inside, depth=330.0)
    return picture


def _polar(radius: float, angle: float) -> Point:
    return MIDDLE + radius * float(np.cos(angle)), MIDDLE + radius * float(np.sin(angle))


def _outline(pose: Pose, flaw: Flaw) -> Cover:
    """Return the cover of the steel."""
    canvas = Canvas(pose, background=0)
    canvas.disc((MIDDLE, MIDDLE), ROOT, 255)
    broken = int(flaw.rng.integers(TEETH)) if flaw.kind == "broken_tooth" else None
    for tooth in range(TEETH):
        tip = TIP
        if tooth == broken:
            tip = ROOT + (TIP - ROOT) * flaw.rng.uniform(0.0, 0.25)
        middle, half = 2 * np.pi * tooth / TEETH, 0.5 * np.pi / TEETH
        corners = ((ROOT - 4, -1.25), (tip, -0.75), (tip, 0.75), (ROOT - 4, 1.25))
        canvas.polygon([_polar(radius, middle + side * half) for radius, side in corners], 255)
    canvas.disc((MIDDLE, MIDDLE), BORE, 0)
    closed = int(flaw.rng.integers(HOLES)) if flaw.kind == "missing_hole" else None
    for hole in range(HOLES):
        if hole != closed:
            canvas.disc(_polar(HOLE_CIRCLE, 2 * np.pi * hole / HOLES), HOLE, 0)
    return canvas.pixels() / 255


def _shaded(steel: Cover, pose: Pose, rng: np.random.Generator) -> Picture:
    """Light the steel from the upper left: turning marks, a bow-tie glare, bevelled edges, a soft shadow."""
    row, column = grid()
    ((x, y),) = pose.place([(MIDDLE, MIDDLE)])
    radius, angle = np.hypot(row - y, column - x), np.arctan2(row - y, column - x)
    marks = np.interp(radius, np.arange(200), rng.normal(0.0, 6.0, 200))
    glare = 11.0 * np.cos(2 * (angle + 0.8 + rng.uniform(-0.25, 0.25)))
    fall, run = np.gradient(gaussian_filter(steel, 1.4))
    face = 150.0 + rng.uniform(-10.0, 10.0) + marks + glare - 190.0 * (fall + run)
    shadow = gaussian_filter(np.roll(steel, (5, 5), axis=(0, 1)), 4.0)
    felt = 44.0 + rng.uniform(-6.0, 6.0) + 7.0 * noise(rng, rows=9) + 3.0 * noise(rng, rows=2) - 18.0 * shadow
    picture = np.stack([felt, felt, felt * 1.05], axis=-1)
    return picture + steel[..., None] * (np.stack([face, face, face * 1.03], axis=-1) - picture)
