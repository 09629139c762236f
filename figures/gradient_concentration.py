"""Share of the gradient that the tail gets, over what the loss weights alone give; contribution by distance.

Source: inventory F, "gradient-concentration bars"; probe P1. The published number, of input gradients,
is drawn below, beside the ratio of loss weights that any model would give it.
"""

from math import log

import numpy as np
from matplotlib.axes import Axes

from figures.columns import absent, column, described, groups, room, rows_of, spans
from figures.forest import Room, Row, forest, verdict_panel
from figures.forest import size as panel_size
from figures.style import COLOURS, CYCLE, logarithmic
from figures.wording import label, number
from mechlab.result import Result

INPUT = Result


def size(result: Result) -> tuple[float, float]:
    """Return the drawing area in inches."""
    return panel_size(len(_parts(result)) + 2, details=_details(result))


def draw(result: Result, ax: Axes) -> None:
    """Draw the log ratio beside its null, contributions by distance to the tail, and the published number."""
    ratio = result.thresholds["least_ratio"]
    lines = {f"threshold log {ratio:g} = {log(ratio):.3g}": log(ratio)}
    distances, published = verdict_panel(
        result, ax, parts=_parts(result), lines=lines, details=_details(result)
    )
    draw_distances(result, distances)
    draw_published(result, published)


def draw_distances(result: Result, ax: Axes) -> None:
    """Draw each loss as a line over the distance to the tail; dashed is what its weights alone give."""
    rows = rows_of(result, "distance")
    if not rows:
        absent(ax, "contributions by distance")
        return
    bins = list(dict.fromkeys(str(row["distance"]) for row in rows))
    for shade, ((loss,), of_loss) in zip(CYCLE * len(rows), groups(rows, "loss").items(), strict=False):
        places = np.array([bins.index(str(row["distance"])) for row in of_loss])
        means, alone = _positive(column(of_loss, "mean")), _positive(column(of_loss, "weights_alone"))
        ax.errorbar(
            places, means, yerr=spans(of_loss), fmt="o-", color=shade, capsize=2, label=label(str(loss))
        )
        ax.plot(places, alone, "--", color=shade, linewidth=1.0)
    ax.plot([], [], "--", color=COLOURS["null"], linewidth=1.0, label="weights alone (null)")
    logarithmic(ax, "y")
    ax.set_xticks(range(len(bins)), [f"{name}\n(tail)" if name == "0" else name for name in bins])
    ax.set_xlabel("chessboard distance to the nearest tail patch (patches)")
    ax.set_ylabel("contribution of a patch\nover the image's mean")
    ax.set_title("Contribution to the parameter gradient, by distance", fontsize=9, pad=20)
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=4, borderaxespad=0.1)


def draw_published(result: Result, ax: Axes) -> None:
    """Draw the ratio of input gradients as published and as measured here; its null is N/k, not 1."""
    rows = [row for row in rows_of(result, "published") if row.get("mean") is not None]
    if not rows:
        absent(ax, "input gradients; record input_gradient for the published number")
        return
    lines = [described(row, name=_short(str(row["quantity"]))) for row in rows]
    published = rows[0].get("published")
    if published is not None:
        lines.append(Row(name="published (notes), another run", value=published))
    null = float(column(rows, "null")[0])
    lines.append(Row(name="null: ratio of loss weights N/k", value=null, kind="null"))
    box = ax.inset_axes((0.32, 0.0, 0.49, 1.0))
    ax.set_axis_off()
    forest(box, lines, unit="ratio of input gradients, weight 1 over weight 0", lines={})
    logarithmic(box, "x")
    box.axvline(null, color=COLOURS["null"], linewidth=1.0, linestyle=":")
    ax.set_title(f"Published ratio of input gradients: its null is N/k = {number(null)}, not 1", fontsize=9)


def _details(result: Result) -> list[Room]:
    """Return the rooms of the two panels below; the published number needs more space for its labels."""
    return [room(result, "distance", 1.9, above=1.0), room(result, "published", 1.25, above=0.95)]


def _parts(result: Result) -> list[Row]:
    """Return what the weights explain, less the first row, which is the effect itself."""
    return [described(row, name=str(row["quantity"])) for row in rows_of(result, "weights")[1:]]


def _positive(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0, values, np.nan)


def _short(quantity: str) -> str:
    return (
        "here, over the first k in raster order" if "first k" in quantity else "here, over all other patches"
    )
