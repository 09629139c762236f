"""Image scores of normal against defective test images, class by class, with the decision threshold.

Source: inventory F, "score histograms normal vs anomaly". The image AUROC of the model stands beside that of
the best trivial statistic of the raw image: a high AUROC means little where a grey level reaches it too.
"""

from math import ceil

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from figures.page.content import ClassScores, RunContent
from figures.style import COLOURS, WIDTH, panels
from figures.wording import label, number, share

INPUT = RunContent
DRAWS = ("scores", "metrics", "trivial", "tasks", "score_unit")
_PANEL = 1.25  # inches
_GAPS = (0.55, 0.85)
_RUGS = 60  # images a class and label up to which each one is also a tick


def size(content: RunContent) -> tuple[float, float]:
    """Return the drawing area in inches."""
    rows = max(1, ceil(len(content.scores) / 2))
    return (WIDTH, rows * _PANEL + (rows - 1) * _GAPS[1])


def draw(content: RunContent, ax: Axes) -> None:
    """Draw one panel a class, two beside each other."""
    names = [name for name in content.classes if name in content.scores]
    names += [name for name in content.scores if name not in names]
    if not names:
        ax.set_axis_off()
        ax.text(0.5, 0.5, "no image scores were kept of this run", ha="center", transform=ax.transAxes)
        return
    columns = min(2, len(names))
    found = panels(ax, rows=[1.0] * ceil(len(names) / columns), columns=columns, gaps=_GAPS)
    for panel in found[len(names) :]:
        panel.set_axis_off()
    for at, (name, panel) in enumerate(zip(names, found, strict=False)):
        draw_class(content.scores[name], panel, unit=content.score_unit)
        panel.set_title(f"{label(name)}\n{_aurocs(content, name)}", fontsize=8.5)
        if at == 0:
            panel.legend(loc="lower left", bbox_to_anchor=(0, 1.32), ncols=3, borderaxespad=0)


def draw_class(scores: ClassScores, ax: Axes, *, unit: str) -> None:
    """Draw the histogram of one class; scores that are not finite are left out and counted in the label."""
    finite = np.isfinite(scores.scores)
    values, labels = scores.scores[finite].astype(np.float64), scores.labels[finite].astype(bool)
    edges = bins(values)
    for is_defective, name in ((False, "normal"), (True, "defective")):
        chosen = values[labels == is_defective]
        counts = np.histogram(chosen, edges)[0]
        ax.stairs(counts, edges, color=COLOURS[name], fill=True, alpha=0.35)
        ax.stairs(counts, edges, color=COLOURS[name], linewidth=1.2, linestyle="--" if is_defective else "-",
                  label=name)  # fmt: skip
        if chosen.size <= _RUGS:
            place = -0.045 if is_defective else -0.015
            ax.plot(chosen, np.full(chosen.size, place), "|", color=COLOURS[name], markersize=4,
                    transform=ax.get_xaxis_transform(), clip_on=False)  # fmt: skip
    if scores.threshold is not None and np.isfinite(scores.threshold):
        ax.axvline(scores.threshold, color=COLOURS["threshold"], linewidth=1.2, label="threshold")
    left_out = f"; {int((~finite).sum())} not finite" if not finite.all() else ""
    ax.set_xlabel(f"image score ({label(unit)}{left_out})", labelpad=3)
    ax.tick_params(axis="x", pad=5)
    ax.set_ylabel(f"images (of {int((~labels).sum())} + {int(labels.sum())})", fontsize=8)
    ax.yaxis.set_major_locator(MaxNLocator("auto", integer=True))


def bins(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " edge"]:
    """Return common edges for both labels: about sqrt(n) bins, from 5 to 30."""
    if not values.size:
        return np.array([0.0, 1.0])
    count = min(30, max(5, round(2 * values.size**0.5)))
    low, high = float(values.min()), float(values.max())
    if not high - low > 1e-9 * max(abs(low), abs(high)):  # all (nearly) equal
        half = max(0.5, 1e-3 * abs(low))
        low, high = low - half, high + half
    return np.linspace(low, high, count + 1)


def _aurocs(content: RunContent, name: str) -> str:
    """Return the model's image AUROC and, beside it, the best trivial one."""
    auroc = content.metrics.get(name, {}).get("image_auroc")
    if auroc is None:
        return "image AUROC n/a (one kind of image)"
    best = content.best_trivial(name)
    beside = "trivial n/a" if best is None else f"trivial ({label(best[0], limit=14)}) {share(best[1])}"
    return f"image AUROC {share(auroc)} · {beside}"


def threshold_told(scores: ClassScores) -> str:
    """Return the threshold with the rates at which it flags normal and defective images."""
    if scores.threshold is None:
        return "no threshold: no normal image was held out"
    told = [f"threshold {number(scores.threshold, digits=4)}"]
    for value, name in ((0, "normal"), (1, "defective")):
        chosen = scores.scores[scores.labels.astype(int) == value]
        if chosen.size:
            told.append(f"flags {int((chosen > scores.threshold).sum())} of {chosen.size} {name} images")
    return ", ".join(told)
