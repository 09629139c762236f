"""Whether noise follows distance and influence, its shape beside isotropic noise, and its std by epoch.

Source: probe P22; notes 000, "Adaptive Noising Module".
"""

from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from figures.columns import absent, column, described, groups, room, rows_of, spans
from figures.forest import Room, Row, verdict_panel
from figures.forest import size as panel_size
from figures.style import COLOURS
from figures.wording import label
from mechlab.result import Result

INPUT = Result
_NAMES = {"far": "distance with std", "own": "influence with std"}
_LINES = ("-", "--", ":", "-.")  # of levels


def size(result: Result) -> tuple[float, float]:
    """Return the drawing area in inches."""
    return panel_size(len(_parts(result)) + 2, details=_rooms(result))


def draw(result: Result, ax: Axes) -> None:
    """Draw the correlations beside their null, the shape of the std, and its course."""
    limit = result.thresholds["least_correlation"]
    lines = {f"threshold {limit:g}": limit}
    shape, course = verdict_panel(result, ax, parts=_parts(result), lines=lines, details=_rooms(result))
    draw_shape(result, shape)
    draw_course(result, course)


def _rooms(result: Result) -> list[Room]:
    return [room(result, "tenths", 2.0, above=1.1), room(result, "epochs", 2.0, above=1.1)]


def draw_shape(result: Result, ax: Axes) -> None:
    """Draw the std in tenths of distance and of influence, a line a level; isotropic noise lies at 1."""
    rows = rows_of(result, "tenths")
    if not rows:
        absent(ax, "tenths of distance and influence")
        return
    colours = {"distance": COLOURS["normal"], "influence": COLOURS["ink"]}
    styles = dict(zip(dict.fromkeys(row["level"] for row in rows), cycle(_LINES), strict=False))
    for (level, over), points in groups(rows, "level", "over").items():
        ax.errorbar(column(points, "tenth") + 1, column(points, "mean"), yerr=spans(points),
                    color=colours[over], linestyle=styles[level], marker="o", markersize=3, capsize=2,
                    label=label(f"{over}, {level}"))  # fmt: skip
    ax.axhline(1.0, color=COLOURS["null"], linestyle=":", linewidth=1.0, label="isotropic noise of equal std")
    ax.set_xticks(np.arange(1, 11))
    ax.set_xlabel("tenth of the distance to the bank, or of the influence (10: largest)")
    ax.set_ylabel("std over its mean")
    ax.set_title("Noise by distance and by influence, means over seeds", fontsize=9, pad=34)
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, fontsize=6.5, borderaxespad=0.1)


def draw_course(result: Result, ax: Axes) -> None:
    """Draw the mean std of each level by epoch of training."""
    rows = rows_of(result, "epochs")
    if not rows:
        absent(ax, "epochs")
        return
    styles = dict(zip(dict.fromkeys(row["level"] for row in rows), cycle(_LINES), strict=False))
    for (level,), points in groups(rows, "level").items():
        ax.errorbar(column(points, "epoch") + 1, column(points, "mean"), yerr=spans(points),
                    color=COLOURS["normal"], linestyle=styles[level], marker="o", markersize=3, capsize=2,
                    label=label(level))  # fmt: skip
    ax.set_xlabel("epoch of the task")
    ax.set_ylabel("mean std of the noise\n(unit of the features)")
    ax.set_ylim(0.0, 1.2 * float(np.nanmax(column(rows, "mean"))))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_title("Mean std while it trains, means over seeds", fontsize=9, pad=20)
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, fontsize=6.5, borderaxespad=0.1)


def _parts(result: Result) -> list[Row]:
    """Return both correlations of each level."""
    found = []
    for row in rows_of(result, "levels"):
        for key, name in _NAMES.items():
            values = {"mean": row[key], "low": row[f"{key}_low"], "high": row[f"{key}_high"]}
            found.append(described(values, name=f"{name}, {row['level']}"))
    return found
