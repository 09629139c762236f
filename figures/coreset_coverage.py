"""Covering radius and detection against the share of patches that is kept, greedy beside random.

Source: probe P23; the random subset of equal size is the null.
"""

import numpy as np
from matplotlib.axes import Axes

from figures.columns import absent, column, rows_of, spans
from figures.forest import Room, verdict_panel
from figures.forest import size as panel_size
from figures.style import COLOURS, logarithmic
from mechlab.result import Result, Table

INPUT = Result
_SHADES = {"greedy": COLOURS["normal"], "random": COLOURS["null"]}
_RADII = {"radius": ("-", "of training patches"), "test_radius": ("--", "of normal test patches")}
_METRICS = {"image_auroc": ("-", "image AUROC"), "pixel_auroc": ("--", "pixel AUROC")}


def size(result: Result) -> tuple[float, float]:
    """Return the drawing area in inches."""
    return panel_size(2, details=_details(result))


def draw(result: Result, ax: Axes) -> None:
    """Draw the quotient beside its null, the radii over the share, and the metrics over the share."""
    limit = result.thresholds["largest_quotient"]
    radii, metrics = verdict_panel(
        result, ax, lines={f"threshold {limit:g}": limit}, details=_details(result)
    )
    draw_lines(result, radii, kinds=_RADII, what="covering radii")
    radii.set_ylabel("covering radius\n(feature distance)")
    radii.set_title("Farthest patch from the bank, mean over classes and seeds", fontsize=9, pad=32)
    draw_lines(result, metrics, kinds=_METRICS, what="metrics")
    metrics.set_ylabel("AUROC")
    metrics.set_title("Detection, mean over classes and seeds", fontsize=9, pad=32)


def _details(result: Result) -> list[Room]:
    return [Room(1.9, 1.15) if _sizes(result, kinds) else Room(0.2, 0.6) for kinds in (_RADII, _METRICS)]


def _sizes(result: Result, kinds: dict[str, tuple[str, str]]) -> Table:
    return tuple(row for row in rows_of(result, "sizes") if row["quantity"] in kinds)


def draw_lines(result: Result, ax: Axes, *, kinds: dict[str, tuple[str, str]], what: str) -> None:
    """Draw a line a choice and quantity over the share of patches, with intervals over seeds."""
    rows = _sizes(result, kinds)
    if not rows:
        absent(ax, what)
        return
    for (kind, (dash, name)), (coreset, shade) in ((k, s) for k in kinds.items() for s in _SHADES.items()):
        own = [row for row in rows if (row["quantity"], row["coreset"]) == (kind, coreset)]
        if own:
            face = shade if dash == "-" else "white"
            ax.errorbar(100 * column(own, "ratio"), column(own, "mean"), yerr=spans(own), fmt=f"o{dash}",
                        color=shade, mfc=face, capsize=2, label=f"{coreset}, {name}")  # fmt: skip
    logarithmic(ax, "x")
    ax.set_xlabel("patches kept (%)")
    ax.margins(x=0.06)
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.1)
    ax.set_xticks(100 * np.unique(column(rows, "ratio")))
