"""Similarity of latents through two adapters, site by site and class by class, beside permuted images.

Source: inventory F, "CKA heat map"; probe P9. The same inputs go through both adapters.
"""

import numpy as np
from matplotlib.axes import Axes

from figures.columns import absent, column, groups, room, rows_of, spans
from figures.forest import size as panel_size
from figures.forest import verdict_panel
from figures.style import COLOURS
from figures.wording import label
from mechlab.result import Result

INPUT = Result
_MOST = 16  # names along an axis


def size(result: Result) -> tuple[float, float]:
    """Return the drawing area in inches."""
    return panel_size(2, details=[room(result, "layers", 1.9)])


def draw(result: Result, ax: Axes) -> None:
    """Draw CKA beside its null with the expected range, then sites, then classes and pairs of adapters."""
    low, high = result.thresholds["least_cka"], result.thresholds["largest_cka"]
    lines = {f"least {low:g}": low, f"largest {high:g}": high}
    (detail,) = verdict_panel(result, ax, lines=lines, details=[room(result, "layers", 1.9)])
    detail.set_axis_off()
    draw_sites(result, detail.inset_axes((0.0, 0.0, 0.44, 1.0)))
    draw_pairs(result, detail.inset_axes((0.58, 0.0, 0.42, 1.0)))


def draw_sites(result: Result, ax: Axes) -> None:
    """Draw CKA of each site with its interval over seeds, and its null."""
    rows = rows_of(result, "layers")
    if not rows:
        absent(ax, "sites")
        return
    places = np.arange(len(rows))
    ax.errorbar(places, column(rows, "mean"), yerr=spans(rows), fmt="o", color=COLOURS["normal"], capsize=2,
                label="CKA")  # fmt: skip
    ax.plot(places, column(rows, "null"), "s", color=COLOURS["null"], label="null")
    _finish(result, ax, [str(row["site"]) for row in rows])
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.1, columnspacing=1.0)
    ax.set_title("Sites; the first is judged", fontsize=9)


def draw_pairs(result: Result, ax: Axes) -> None:
    """Draw CKA and null of the judged site for each class and pair of adapters, a point a seed."""
    judged = [str(row["site"]) for row in rows_of(result, "layers")[:1]]
    rows = tuple(row for row in rows_of(result, "pairs") if str(row["site"]) in judged)
    if not rows:
        absent(ax, "pairs of adapters")
        return
    names = []
    for place, ((class_name, adapters), found) in enumerate(groups(rows, "class_name", "adapters").items()):
        names.append(f"{label(str(class_name), limit=14)} {adapters}")
        shifts = np.linspace(-0.12, 0.12, len(found)) if len(found) > 1 else np.zeros(1)
        ax.plot(place + shifts, column(found, "cka"), "o", color=COLOURS["normal"], alpha=0.7, markersize=3.5)
        ax.plot(place + shifts, column(found, "null"), "s", color=COLOURS["null"], alpha=0.7, markersize=3)
    _finish(result, ax, names)
    ax.set_title("Class and adapters, a point a seed", fontsize=9)


def _finish(result: Result, ax: Axes, names: list[str]) -> None:
    """Shade the expected range and name the axes."""
    ax.axhspan(result.thresholds["least_cka"], result.thresholds["largest_cka"], color=COLOURS["threshold"],
               alpha=0.10, linewidth=0)  # fmt: skip
    shown = [label(name, limit=20) for name in names] if len(names) <= _MOST else []
    ax.set_xticks(range(len(shown)), shown, rotation=50, ha="right", rotation_mode="anchor", fontsize=7)
    if not shown:
        ax.set_xlabel(f"{len(names)} of them, in order")
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.set_ylim(min(0.0, ax.get_ylim()[0]), max(1.0, ax.get_ylim()[1]))
    ax.set_ylabel("debiased CKA (shaded: expected)")
