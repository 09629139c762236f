"""A green circuit board: chips, resistors, capacitors and cans on pads, joined by traces and vias."""

from dataclasses import dataclass

import numpy as np

from reproductions.datasets.embedded.canvas import SIZE, Canvas, Ink, Number, Point, Pose
from reproductions.datasets.embedded.flaw import Flaw, Picture, scratched, stained
from reproductions.datasets.embedded.texture import noise

DEFECTS = ("missing", "skewed", "bridge", "scratch", "burn")
MASK, TRACE, GOLD, TIN, SILK = (20, 88, 50), (36, 124, 72), (198, 170, 92), (190, 190, 182), (205, 212, 200)
DARK, SILVER, TAN = (34, 34, 38), (178, 180, 186), (168, 130, 90)
SOOT = (30.0, 24.0, 16.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One thing on the board: its kind, the place of its middle and its size, pixels."""

    kind: str  # chip, resistor, capacitor or can
    at: Point
    size: Point


def _row(kind: str, size: Point, *places: Point) -> tuple[Component, ...]:
    return tuple(Component(kind=kind, at=place, size=size) for place in places)


LAYOUT = (
    *_row("chip", (44, 38), (120, 106)),
    *_row("chip", (34, 20), (42, 46), (188, 112)),
    *_row("chip", (18, 30), (116, 42)),
    *_row(
        "resistor", (22, 10), (176, 34), (176, 54), (176, 76), (100, 174), (138, 174), (46, 192), (70, 150)
    ),
    *_row("capacitor", (11, 23), (36, 96), (58, 96), (80, 92), (148, 196)),
    *_row("can", (26, 26), (38, 148), (184, 178)),
)
# Each trace: a start, the middle of the slanting stretch, an end.
TRACES: tuple[tuple[Point, Point, Point], ...] = (
    ((62, 40), (84, 52), (104, 34)),
    ((62, 52), (88, 70), (96, 96)),
    ((128, 34), (148, 30), (162, 34)),
    ((128, 48), (146, 58), (162, 54)),
    ((146, 94), (158, 84), (162, 76)),
    ((190, 34), (204, 50), (204, 92)),
    ((190, 76), (196, 84), (196, 98)),
    ((36, 84), (30, 70), (24, 58)),
    ((58, 108), (76, 116), (96, 112)),
    ((36, 110), (26, 124), (28, 136)),
    ((52, 150), (56, 150), (58, 150)),
    ((82, 150), (96, 142), (108, 128)),
    ((132, 128), (136, 150), (150, 174)),
    ((112, 174), (118, 174), (126, 174)),
    ((58, 192), (74, 188), (88, 174)),
    ((148, 184), (160, 168), (172, 168)),
    ((170, 118), (156, 112), (146, 112)),
    ((206, 118), (212, 140), (196, 168)),
    ((120, 80), (120, 70), (116, 60)),
    ((22, 176), (24, 188), (34, 192)),
    ((104, 204), (120, 200), (138, 206)),
    ((14, 20), (60, 16), (92, 22)),
)


def paint(rng: np.random.Generator, flaw: Flaw) -> Picture:
    """Paint one board in 0..255; the same generator state gives the same board with or without a flaw."""
    pose = Pose.drawn(rng, angle=1.5, shift=3.0)
    canvas = Canvas(pose, background=MASK)
    for trace in TRACES:
        canvas.line(trace, width=2.6, ink=TRACE)
        for end in (trace[0], trace[2]):
            canvas.disc(end, 3.2, GOLD)
            canvas.disc(end, 1.2, MASK)
    wrong = int(flaw.rng.integers(len(LAYOUT))) if flaw.kind in ("missing", "skewed") else None
    for number, component in enumerate(LAYOUT):
        shift, turn = rng.normal(0.0, 0.4, 2), float(rng.normal(0.0, 0.012))
        _pads(canvas, component)
        if number == wrong and flaw.kind == "missing":
            continue
        if number == wrong:
            shift, turn = (
                shift + flaw.rng.choice([-1, 1], 2) * flaw.rng.uniform(2.0, 5.0, 2),
                _twist(flaw.rng),
            )
        at = component.at[0] + float(shift[0]), component.at[1] + float(shift[1])
        _body(canvas, component, at=at, turn=turn)
    if flaw.kind == "bridge":
        _bridge(canvas, flaw.rng)
    picture = canvas.pixels() + 5.0 * noise(rng, rows=3)[..., None]
    inside = np.zeros((SIZE, SIZE))
    inside[20:-20, 20:-20] = 1.0
    if flaw.kind == "scratch":
        return scratched(picture, flaw.rng, where=inside, depths=(110.0, 130.0))
    if flaw.kind == "burn":
        return stained(picture, flaw.rng, where=inside, colour=SOOT, strength=0.75)
    return picture


def _twist(rng: np.random.Generator) -> float:
    return float(rng.choice([-1.0, 1.0]) * np.radians(rng.uniform(10.0, 28.0)))


def _pins(component: Component) -> list[Point]:
    """Return the places of a chip's pins: two rows, one pin every 6 pixels."""
    (x, y), (width, height) = component.at, component.size
    count = int((height - 4) // 6) + 1
    offsets = [6.0 * (pin - (count - 1) / 2) for pin in range(count)]
    return [(x + side * (width / 2 + 2.5), y + offset) for side in (-1, 1) for offset in offsets]


def _pads(canvas: Canvas, component: Component) -> None:
    """Draw the tinned pads and the printed outline that a component sits on."""
    (x, y), (width, height) = component.at, component.size
    canvas.box((x, y), (width + 2.0, height + 2.0), SILK)
    canvas.box((x, y), (width + 0.4, height + 0.4), MASK)
    if component.kind == "chip":
        for pin in _pins(component):
            canvas.box(pin, (6.0, 3.4), TIN)
        return
    lengthwise = width >= height
    for side in (-1, 1):
        place = (x + side * width / 2, y) if lengthwise else (x, y + side * height / 2)
        canvas.box(place, (7.0, 8.0) if lengthwise else (8.0, 7.0), TIN)


def _body(canvas: Canvas, component: Component, *, at: Point, turn: float) -> None:
    """Draw the component itself, its middle at `at`, turned by `turn` radians."""
    width, height = component.size
    cosine, sine = float(np.cos(turn)), float(np.sin(turn))

    def part(right: Number, down: Number, size: Point, ink: Ink) -> None:
        place = (at[0] + cosine * right - sine * down, at[1] + sine * right + cosine * down)
        canvas.box(place, size, ink, turn=turn)

    if component.kind == "chip":
        part(0, 0, (width, height), DARK)
        part(0, -height / 2 + 0.8, (width, 1.6), (62, 62, 68))
        for line in (-2.5, 2.5):
            part(0, line, (width * 0.5, 1.3), (112, 112, 118))
        place = (at[0] - width / 2 + 4.5, at[1] - height / 2 + 5)
        canvas.disc(place, 1.8, (96, 96, 102))
    elif component.kind == "can":
        part(0, 0, (width, height), (26, 26, 28))
        canvas.disc(at, width / 2 - 1.5, SILVER)
        canvas.disc(at, width / 2 - 4.0, (196, 198, 202))
        part(width / 2 - 5.0, 0, (4.0, height * 0.55), (44, 48, 66))
    elif component.kind == "capacitor":
        part(0, 0, (width, height), TAN)
        for end in (-1, 1):
            part(0, end * (height / 2 - 2), (width, 4.0), (206, 204, 198))
    else:
        part(0, 0, (width, height), (28, 30, 36))
        part(0, 0, (5.0, 1.4), (150, 150, 152))
        for end in (-1, 1):
            part(end * (width / 2 - 2), 0, (4.0, height), (202, 202, 198))


def _bridge(canvas: Canvas, rng: np.random.Generator) -> None:
    """Let a lump of solder join two or three pins of a chip that lie side by side."""
    chips = [component for component in LAYOUT if component.kind == "chip"]
    pins = _pins(chips[int(rng.integers(len(chips)))])
    half = len(pins) // 2
    first = int(rng.integers(half - 1)) + half * int(rng.integers(2))
    (x, top), (_, bottom) = pins[first], pins[first + 1]
    for place in np.linspace(top - 1.0, bottom + 1.0, 5):
        canvas.disc(
            (x + float(rng.uniform(-1.0, 1.0)), float(place)), float(rng.uniform(3.0, 4.2)), (205, 205, 198)
        )
