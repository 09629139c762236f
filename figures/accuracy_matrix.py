"""What later tasks do to earlier ones: image AUROC of each task after each stage, and the forgetting.

Source: Chaudhry et al. 2018 (forgetting: best minus final); inventory F, "forgetting matrix". The lowest row
holds the best trivial statistic of the raw images, which no training moves.
"""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from figures.page.content import RunContent
from figures.style import WIDTH
from figures.wording import label, share

INPUT = RunContent
DRAWS = ("accuracy_matrix", "trivial", "tasks", "metrics", "forgetting", "scores_identical")
_CELL = 0.36  # inches
_COLOURS = "cividis"


def size(content: RunContent) -> tuple[float, float]:
    """Return the drawing area in inches."""
    tasks = max(1, len(content.accuracy_matrix))
    return (min(WIDTH, max(2.6, tasks * 0.75)), (tasks + 1) * _CELL)


def draw(content: RunContent, ax: Axes) -> None:
    """Draw a stage as a row and a task as a column, with the numbers in the cells."""
    if not content.accuracy_matrix:
        ax.set_axis_off()
        ax.text(0.5, 0.5, "no accuracy matrix was kept of this run", ha="center", transform=ax.transAxes)
        return
    values = with_trivial(content)
    stages, tasks = values.shape[0] - 1, values.shape[1]
    known = values[np.isfinite(values)]
    low = min(0.5, float(known.min())) if known.size else 0.5
    ax.imshow(values, cmap=_COLOURS, vmin=low, vmax=1.0, aspect="auto")
    font = 8.5 if tasks <= 8 else 6.0
    for row, column in zip(*np.nonzero(np.isfinite(values)), strict=True):
        value = float(values[row, column])
        dark = (value - low) / (1.0 - low) < 0.55
        written = share(value) if tasks <= 8 else f"{value:.2f}"
        ax.text(int(column), int(row), written, ha="center", va="center", fontsize=font,
                color="white" if dark else "black")  # fmt: skip
    ax.axhline(stages - 0.5, color="white", linewidth=4)
    names = [label(" + ".join(names), limit=18) for names in content.tasks[:tasks]]
    names += [f"task {task}" for task in range(len(names), tasks)]
    turn = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if tasks > 4 else {}
    ax.set_xticks(range(tasks), names)
    ax.set_yticks(range(stages + 1), [*(f"after task {stage}" for stage in range(stages)), "trivial, best"])
    for tick in ax.get_xticklabels():
        tick.set(**turn)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("task (image AUROC, routed)")
    ax.set_title(told(content), pad=8)


def with_trivial(content: RunContent) -> Float[np.ndarray, "stage task"]:
    """Return the matrix with one more row, the best trivial image AUROC of each task; NaN where undefined."""
    tasks = max(len(row) for row in content.accuracy_matrix)
    values = np.full((len(content.accuracy_matrix) + 1, tasks), np.nan)
    for stage, row in enumerate(content.accuracy_matrix):
        values[stage, : len(row)] = [np.nan if value is None else value for value in row]
    for task, names in enumerate(content.tasks[:tasks]):
        best = [found[1] for name in names if (found := content.best_trivial(name)) is not None]
        values[-1, task] = float(np.mean(best)) if best else np.nan
    return values


def told(content: RunContent) -> str:
    """Return the forgetting, and whether earlier scores kept every bit, in words."""
    if content.forgetting is None:
        return "Forgetting needs two tasks"
    kept = {True: "earlier scores bit-identical", False: "earlier scores moved", None: "bits not compared"}
    return f"Forgetting {share(content.forgetting)} in image AUROC,\n{kept[content.scores_identical]}"
