"""Anomaly maps beside the images: thumbnail, mask outline, map over the image, score.

Source: inventory F, "anomaly-map gallery". One colour scale a class, so that its maps can be compared.
"""

from collections.abc import Sequence
from math import ceil

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from figures.page.content import Example, RunContent
from figures.style import COLOURS, panels
from figures.wording import label, number

INPUT = RunContent
DRAWS = ("examples", "scores", "score_unit")
ACROSS = 8  # images beside each other
TILE = 0.85  # inches
_COLOURS = "inferno"
_LABELS = 0.44  # inches above each strip
_NO_EXAMPLES = "no example images were kept of this run"


def size(content: RunContent) -> tuple[float, float]:
    """Return the drawing area in inches."""
    strips = _strips(content.examples)
    if not strips:
        return (4.0, 0.4)
    return (_columns(strips) * TILE, len(strips) * (3 * TILE + _LABELS) + (len(strips) - 1) * 0.15)


def draw(content: RunContent, ax: Axes) -> None:
    """Draw every class, strips of at most eight images below each other."""
    strips = _strips(content.examples)
    if not strips:
        ax.set_axis_off()
        ax.text(0.5, 0.5, _NO_EXAMPLES, ha="center", va="center", transform=ax.transAxes)
        return
    for strip, panel in zip(strips, panels(ax, rows=[1.0] * len(strips), gaps=(0.1, 0.15)), strict=True):
        name = strip[0].class_name
        of_class = [one for one in content.examples if one.class_name == name]
        known = content.scores.get(name)
        threshold = None if known is None else known.threshold
        draw_strip(
            strip,
            panel,
            limits=limits(of_class),
            threshold=threshold,
            unit=content.score_unit,
            columns=_columns(strips),
        )


def limits(examples: Sequence[Example]) -> tuple[float, float]:
    """Return the lowest and the highest finite value of some maps; an interval that is never empty."""
    values = np.concatenate([one.map.ravel() for one in examples])
    values = values[np.isfinite(values)]
    if not values.size:
        return (0.0, 1.0)
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def draw_strip(
    examples: Sequence[Example],
    ax: Axes,
    *,
    limits: tuple[float, float],
    threshold: float | None,
    unit: str,
    columns: int = ACROSS,
) -> None:
    """Draw up to eight images of one class: image, mask outline and map in three rows, the score above.

    `limits` are the ends of the colour scale, in `unit`; `columns` is the width to fill, in images.
    """
    scale = Normalize(*limits)
    above = _LABELS / TILE
    for column, example in enumerate(examples):
        _tile(ax, example, column=column, row=2)
        _tile(ax, example, column=column, row=1)
        _outline(ax, example, column=column, row=1)
        _tile(ax, example, column=column, row=0)
        place = _extent(column, 0)
        ax.imshow(example.map, extent=place, cmap=_COLOURS, norm=scale, alpha=0.62, aspect="auto")
        ax.text(column + 0.48, 3.04, _told(example, threshold), ha="center", va="bottom", fontsize=7)
    ax.text(
        0,
        3.04 + above * 0.66,
        label(examples[0].class_name, limit=40),
        va="bottom",
        fontsize=9,
        weight="bold",
    )
    for row, shown in enumerate(("map", "mask", "image")):
        ax.text(-0.06, row + 0.48, shown, ha="right", va="center", fontsize=8, rotation=90)
    ax.set(xlim=(0, columns), ylim=(0, 3 + above), aspect="auto")
    ax.set_axis_off()
    bar_ax = ax.inset_axes((1.01, 0.0, 0.014, 0.96 / (3 + above)))
    figure = ax.get_figure(root=True)
    assert figure is not None
    bar = figure.colorbar(ScalarMappable(scale, _COLOURS), cax=bar_ax)
    bar.set_label(f"place score ({label(unit)})", fontsize=7)
    bar.ax.tick_params(labelsize=6.5)


def _strips(examples: Sequence[Example]) -> list[list[Example]]:
    """Return the examples class by class, in strips of equal length up to eight."""
    strips: list[list[Example]] = []
    for name in dict.fromkeys(one.class_name for one in examples):
        of_class = [one for one in examples if one.class_name == name]
        length = ceil(len(of_class) / ceil(len(of_class) / ACROSS))
        strips += [of_class[start : start + length] for start in range(0, len(of_class), length)]
    return strips


def _columns(strips: Sequence[Sequence[Example]]) -> int:
    return max(3, *(len(strip) for strip in strips))


def _extent(column: int, row: int) -> tuple[float, float, float, float]:
    return (float(column), column + 0.96, float(row), row + 0.96)


def _tile(ax: Axes, example: Example, *, column: int, row: int) -> None:
    ax.imshow(example.thumbnail, extent=_extent(column, row), aspect="auto")


def _outline(ax: Axes, example: Example, *, column: int, row: int) -> None:
    """Draw the border of the mask; a mask that fills the image is framed."""
    if not example.mask.any():
        return
    framed: Float[np.ndarray, "height width"] = np.pad(example.mask, 1).astype(np.float64)
    height, width = example.mask.shape
    left, right, bottom, top = _extent(column, row)
    x = left + (np.arange(-1, width + 1) + 0.5) / width * (right - left)
    y = top - (np.arange(-1, height + 1) + 0.5) / height * (top - bottom)
    ax.contour(x, y, framed, levels=[0.5], colors=[COLOURS["ink"]], linewidths=2.4)
    ax.contour(x, y, framed, levels=[0.5], colors=[COLOURS["mask"]], linewidths=1.1)


def _told(example: Example, threshold: float | None) -> str:
    """Return defect, score, and in words on which side of the threshold it lies."""
    name = label(example.defect if example.label else "normal", limit=13)
    side = "" if threshold is None else (", flagged" if example.score > threshold else ", passed")
    return f"{name}\n{number(example.score, digits=4)}{side}"
