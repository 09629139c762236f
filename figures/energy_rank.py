"""Energy rank of each layer's weight change beside that of a random change, and the singular values.

Source: inventory F, "singular-value spectra (log)", "energy at rank"; probe P8.
"""

import numpy as np
from matplotlib.axes import Axes

from figures.columns import absent, column, groups, room, rows_of, spans
from figures.forest import Room, verdict_panel
from figures.forest import size as panel_size
from figures.style import COLOURS, logarithmic
from figures.wording import label
from mechlab.result import Result

INPUT = Result
_NAMED = 24  # layers up to which each is named


def size(result: Result) -> tuple[float, float]:
    """Return the drawing area in inches."""
    return panel_size(2, details=_details(result))


def draw(result: Result, ax: Axes) -> None:
    """Draw the ratio beside its null, the ranks of the layers, and their spectra."""
    limit = result.thresholds["largest_share"]
    lines = {f"threshold {limit:g}": limit}
    layers, spectra = verdict_panel(result, ax, lines=lines, details=_details(result))
    draw_layers(result, layers)
    draw_spectra(result, spectra)


def _details(result: Result) -> list[Room]:
    """Return the rooms of the two panels below; names of layers stand upright and need space."""
    named = 0 < len(rows_of(result, "layers")) <= _NAMED
    return [room(result, "layers", 2.0), room(result, "spectrum", 2.0, above=1.65 if named else 0.8)]


def draw_layers(result: Result, ax: Axes) -> None:
    """Draw each layer's ratio of ranks with its interval over seeds, the random change at 1."""
    rows = rows_of(result, "layers")
    if not rows:
        absent(ax, "layers")
        return
    places = np.arange(len(rows))
    bars = spans(rows, middle="ratio_mean", low="ratio_low", high="ratio_high")
    ax.errorbar(places, column(rows, "ratio_mean"), yerr=bars, fmt="o", color=COLOURS["normal"], capsize=2,
                label="fine-tuning (mean over seeds, interval)")  # fmt: skip
    null = column(rows, "null_rank")
    ends = [column(rows, "null_low") / null, column(rows, "null_high") / null]
    ax.vlines(places, ends[0], ends[1], color=COLOURS["null"], linewidth=4, alpha=0.6,
              label="random change (range of draws)")  # fmt: skip
    ax.axhline(1.0, color=COLOURS["null"], linestyle=":", linewidth=1.0)
    ax.axhline(result.thresholds["largest_share"], color=COLOURS["threshold"], linestyle="--", linewidth=1.1)
    names = [label(str(row["layer"])) for row in rows] if len(rows) <= _NAMED else []
    ax.set_xticks(
        places if names else [], names, rotation=60, ha="right", rotation_mode="anchor", fontsize=6.5
    )
    ax.set_xlabel("layer" if names else f"{len(rows)} layers, in the order of the flow")
    ax.set_ylabel("rank / rank of a\nrandom change")
    ax.set_ylim(bottom=0.0)
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.2)
    ax.set_title("Layers", fontsize=9)


def draw_spectra(result: Result, ax: Axes) -> None:
    """Draw singular values over the norm of the change, a line a layer and seed, both axes logarithmic."""
    rows = rows_of(result, "spectrum")
    if not rows:
        absent(ax, "singular values")
        return
    for points in groups(rows, "seed", "layer").values():
        values = column(points, "value")
        ax.plot(column(points, "direction"), np.where(values > 0, values, np.nan), color=COLOURS["normal"],
                alpha=0.35, linewidth=0.8)  # fmt: skip
    logarithmic(ax, "x")
    logarithmic(ax, "y")
    ax.set_xlabel("direction (number, largest first)")
    ax.set_ylabel("singular value over\nthe norm of the change")
    ax.set_title("Singular values of each layer's change, every layer and seed", fontsize=9)
