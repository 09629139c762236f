"""How far latents of normal images are from the prior, their quantiles, and the distance of each dimension.

Source: inventory F, "QQ plot"; probe P7.
"""

import numpy as np
from matplotlib.axes import Axes

from figures.columns import absent, column, described, groups, room, rows_of
from figures.forest import Row, verdict_panel
from figures.forest import size as panel_size
from figures.style import COLOURS, CYCLE
from figures.wording import label
from mechlab.result import Result

INPUT = Result
_NAMED = 6  # lines up to which each is named


def size(result: Result) -> tuple[float, float]:
    """Return the drawing area in inches."""
    return panel_size(len(_parts(result)) + 2, details=[room(result, "quantiles", 2.3)])


def draw(result: Result, ax: Axes) -> None:
    """Draw the distance beside its null, a QQ plot of each task, and the distances of the dimensions."""
    limit = result.thresholds["largest_distance"]
    lines = {f"threshold {limit:g}": limit}
    rooms = [room(result, "quantiles", 2.3)]
    (detail,) = verdict_panel(result, ax, parts=_parts(result), lines=lines, details=rooms)
    detail.set_axis_off()
    draw_quantiles(result, detail.inset_axes((0.0, 0.0, 0.42, 1.0)))
    draw_dims(result, detail.inset_axes((0.58, 0.0, 0.42, 1.0)))


def draw_quantiles(result: Result, ax: Axes) -> None:
    """Draw observed against normal quantiles, a line a recording and task, beside the line of the prior."""
    rows = rows_of(result, "quantiles")
    if not rows:
        absent(ax, "quantiles")
        return
    found = groups(rows, "recording", "task")
    several = len({key[0] for key in found}) > 1
    for at, ((recording, task), points) in enumerate(found.items()):
        name = f"{recording} {task}" if several else str(task)
        ax.plot(column(points, "normal"), column(points, "observed"), color=CYCLE[at % len(CYCLE)],
                label=label(name) if len(found) <= _NAMED else None)  # fmt: skip
    ends = column(rows, "normal")
    prior = [float(np.nanmin(ends)), float(np.nanmax(ends))]
    ax.plot(prior, prior, "--", color=COLOURS["null"], linewidth=1.1, label="prior (null)")
    ax.set_xlabel("quantile of N(0, 1)")
    ax.set_ylabel("quantile of the pooled latent")
    told = "" if len(found) <= _NAMED else f", {len(found)} lines"
    ax.set_title(f"QQ plot, patches of a task pooled{told}", fontsize=9)
    ax.legend(loc="upper left")


def draw_dims(result: Result, ax: Axes) -> None:
    """Draw the histogram of W2 over dimensions with the threshold; no dimension is a replicate."""
    distances = column(rows_of(result, "dims"), "distance")
    distances = distances[np.isfinite(distances)]
    if not distances.size:
        absent(ax, "dimensions")
        return
    top = max(float(distances.max()), result.thresholds["largest_distance"]) * 1.05 or 1.0
    counts, edges = np.histogram(
        distances, bins=min(30, max(5, round(distances.size**0.5))), range=(0.0, top)
    )
    ax.stairs(counts, edges, fill=True, color=COLOURS["normal"], alpha=0.5)
    ax.axvline(
        result.thresholds["largest_distance"], color=COLOURS["threshold"], linestyle="--", linewidth=1.1
    )
    ax.set_xlabel("W2 to N(0, 1) (prior standard deviations)")
    ax.set_ylabel(f"dimensions (of {distances.size})")
    ax.set_title("Each dimension of the latent", fontsize=9)


def _parts(result: Result) -> list[Row]:
    names = {"marginal": "marginal: coordinates", "sliced": "sliced: random directions"}
    return [
        described(row, name=names.get(str(row["directions"]), str(row["directions"])))
        for row in rows_of(result, "distances")
    ]
