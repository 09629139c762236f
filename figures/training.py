"""The loss over the steps of every task: raw values, and the mean of each epoch.

Source: inventory F, "training trajectories" (loss). The rows are those of a run's log.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from figures.page.content import RunContent
from figures.style import CYCLE, WIDTH
from figures.wording import label

INPUT = RunContent
DRAWS = ("log", "tasks", "loss_unit")
_NAMED = 8  # tasks up to which each is named above its part


def size(content: RunContent) -> tuple[float, float]:
    """Return the drawing area in inches."""
    return (WIDTH, 2.1)


def draw(content: RunContent, ax: Axes) -> None:
    """Draw the loss in its unit; tasks lie side by side."""
    tasks = sorted({int(row["task"]) for row in content.log if _loss(row) is not None})
    if not tasks:
        ax.set_axis_off()
        ax.text(0.5, 0.5, "no training log was kept of this run", ha="center", transform=ax.transAxes)
        return
    for task in tasks:
        rows = [row for row in content.log if int(row["task"]) == task and _loss(row) is not None]
        colour = CYCLE[task % len(CYCLE)]
        steps = np.array([float(row["step"]) for row in rows])
        losses = np.array([float(row["loss"]) for row in rows])
        ax.plot(steps, losses, color=colour, alpha=0.35, linewidth=0.8, rasterized=len(rows) > 2000)
        ax.plot(*epoch_means(rows), "o-", color=colour, markersize=2.6)
        if task != tasks[0]:
            ax.axvline(float(steps[0]) - 0.5, color="#b0b0b0", linewidth=0.8)
        if len(tasks) <= _NAMED:
            ax.annotate(_name(content, task), (float(steps.mean()), 1.02), xycoords=("data", "axes fraction"),
                        ha="center", fontsize=7.5, color=colour)  # fmt: skip
    told = "" if len(tasks) <= _NAMED else f"; {len(tasks)} tasks from left to right"
    ax.set_xlabel(f"step (optimiser updates{told})")
    ax.set_ylabel(f"loss ({label(content.loss_unit)})")
    ax.set_title("Training loss: every step (thin) and the mean of each epoch (dots)", pad=16)


def epoch_means(
    rows: Sequence[Mapping[str, Any]],
) -> tuple[Float[np.ndarray, " epoch"], Float[np.ndarray, " epoch"]]:
    """Return the middle step and the mean loss of each epoch of one task."""
    epochs = sorted({int(row.get("epoch", 0)) for row in rows})
    groups = [[row for row in rows if int(row.get("epoch", 0)) == epoch] for epoch in epochs]
    steps = [float(np.mean([row["step"] for row in group])) for group in groups]
    return np.array(steps), np.array([float(np.mean([row["loss"] for row in group])) for group in groups])


def _loss(row: Mapping[str, Any]) -> float | None:
    value = row.get("loss")
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None


def _name(content: RunContent, task: int) -> str:
    names = " + ".join(content.tasks[task]) if task < len(content.tasks) else ""
    return label(f"task {task}: {names}" if names else f"task {task}", limit=22)
