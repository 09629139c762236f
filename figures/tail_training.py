"""How much steeper tail patches are after training with the tail loss than without it, seed by seed.

Source: probe P1, second hypothesis: two trainings of a seed that differ in the weight of the tail alone.
"""

from math import log

import numpy as np
from matplotlib.axes import Axes

from figures.columns import absent, column, described, room, rows_of
from figures.forest import Row, verdict_panel
from figures.forest import size as panel_size
from figures.style import COLOURS
from mechlab.result import Result

INPUT = Result


def size(result: Result) -> tuple[float, float]:
    """Return the drawing area in inches."""
    return panel_size(len(_parts(result)) + 2, details=[room(result, "pairs", 2.0, above=1.0)])


def draw(result: Result, ax: Axes) -> None:
    """Draw the difference beside its null, and the pair of trainings of each seed."""
    ratio = result.thresholds["least_ratio"]
    lines = {f"threshold log {ratio:g} = {log(ratio):.3g}": log(ratio)}
    rooms = [room(result, "pairs", 2.0, above=1.0)]
    (pairs,) = verdict_panel(result, ax, parts=_parts(result), lines=lines, details=rooms)
    draw_pairs(result, pairs)


def draw_pairs(result: Result, ax: Axes) -> None:
    """Draw one line a seed from the training without to the one with the tail loss."""
    rows = rows_of(result, "pairs")
    if not rows:
        absent(ax, "pair of trainings")
        return
    without, with_tail = column(rows, "without"), column(rows, "with")
    for before, after in zip(without, with_tail, strict=True):
        ax.plot([0, 1], [before, after], "o-", color=COLOURS["normal"], alpha=0.55, linewidth=1.0)
    ax.plot([0, 1], [float(np.mean(without)), float(np.mean(with_tail))], "D-", color=COLOURS["ink"],
            linewidth=2.2, label="mean over seeds")  # fmt: skip
    ax.axhline(
        0.0, color=COLOURS["null"], linestyle=":", linewidth=1.0, label="as steep as others (log odds 0)"
    )
    ax.set_xticks([0, 1], ["without tail loss", "with tail loss"])
    ax.set_xlim(-0.35, 1.35)
    ax.set_ylabel("log odds of the tail's share\nless those of the loss weights")
    ax.set_title("Each training under its own loss, a line a seed", fontsize=9, pad=20)
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.1)


def _parts(result: Result) -> list[Row]:
    """Return the same difference under the mean loss for both trainings."""
    return [
        described(row, name="difference, both measured under the mean loss")
        for row in rows_of(result, "measures")
        if row.get("measured_under") == "mean loss" and row.get("quantity") == "difference"
    ]
