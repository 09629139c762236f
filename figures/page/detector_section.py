"""Runs that are judged on windows of messages: a table by attack with intervals, the baseline beside it.

Intervals of one run are over blocks of time, and say nothing of another training; those of several seeds are
Student's over seeds. Source: notes 003; inventory S5.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from figures.page.content import DetectorContent
from figures.page.markup import Markup, element, folded, joined, picture, table
from figures.render import rendered, source_hash
from figures.wording import FIRM, share
from mechlab.stats.intervals import interval

OVERVIEW = ("run", "data", "seed", "F1, mean of attacks", "that of the baseline", "AUROC",
            "that of the baseline", "AP")  # fmt: skip
_OVERVIEW = ("f1_macro", "baseline_f1_macro", "auroc", "baseline_auroc", "ap")
HEADER = ("tests", "windows", "under attack", "blocks", "F1", "that of the baseline", "precision", "recall",
          "AUROC", "that of the baseline", "AP", "FPR at recall")  # fmt: skip
_COUNTS = ("windows", "attack_windows", "blocks")
_NUMBERS = ("f1", "baseline_f1", "precision", "recall", "auroc", "baseline_auroc", "ap", "fpr_at_recall")
_CAPTION = (
    "Metrics of each group of tests and each attack in it, with 95 % intervals over blocks of time; where "
    "none stands, no block differs, which is no proof of no spread"
)


def arms(detectors: Sequence[DetectorContent]) -> list[list[DetectorContent]]:
    """Return the runs in groups that differ in their seed and their teachers' alone, in the order given."""
    groups: dict[str, list[DetectorContent]] = {}
    for run in detectors:
        groups.setdefault(run.arm or run.name, []).append(run)
    return list(groups.values())


def sentences(detectors: Sequence[DetectorContent]) -> list[str]:
    """Return what was run and how well it does beside the baseline, a sentence a group of seeds."""
    told = []
    for group in arms(detectors):
        seeds = "" if len(group) == 1 else f" and {len(group) - 1} more of its seeds"
        own, other = (_with_interval([run.mean.get(name) for run in group]) for name in _OVERVIEW[:2])
        told.append(
            f"Run {group[0].name}{seeds}: mean F1 of the attacks {own}, where the baseline has {other}."
        )
    return told


def overview(detectors: Sequence[DetectorContent]) -> Markup:
    """Return the runs, and below runs that differ in their seed alone their mean with its 95 % interval."""
    rows: list[list[str]] = []
    for group in arms(detectors):
        rows += [_overview_row(run) for run in group]
        if len(group) > 1:
            means = [_with_interval([run.mean.get(name) for run in group]) for name in _OVERVIEW]
            rows.append([f"mean of {len(group)} seeds", "", "", *means])
    return table(OVERVIEW, rows, caption="Detectors: means over groups of tests, beside the baseline")


def index(detectors: Sequence[DetectorContent], *, first: int) -> Markup:
    """Return the sections of all runs; the first of them is the run at place `first` of the page."""
    return joined([detector_section(run, at=at) for at, run in enumerate(detectors, first)])


def detector_section(run: DetectorContent, *, at: int) -> Markup:
    """Return the section of the run at place `at`."""
    parts: list[object] = [
        element("h2", f"Run {run.name}"),
        table(HEADER, [_row(name, row) for name, row in run.rows.items()], caption=_CAPTION),
        *(element("p", warning, attributes={"class": "warning"}) for warning in shortcuts(run)),
        folded("Decision", [element("p", _decision(run))]),
    ]
    if run.log:
        shown = run.as_run
        caption = f"Training loss. Data {source_hash('training', shown)[:12]}."
        losses = [row["loss"] for row in run.log if isinstance(row.get("loss"), int | float)]
        alt = f"Training loss over {len(losses)} steps, in {run.loss_unit}."
        data = rendered("training", shown, kind="svg")
        parts += [element("h3", "Training"), picture(data, kind="svg", alt=alt, caption=caption)]
    return element("section", parts, attributes={"id": f"run-{at}"})


def shortcuts(run: DetectorContent) -> tuple[str, ...]:
    """Return one sentence for each row in which the baseline ranks windows as well as the model."""
    found = []
    for name, row in run.rows.items():
        own, other = row.get("auroc"), row.get("baseline_auroc")
        if own is not None and other is not None and other >= own:
            found.append(
                f"{name}: the baseline of message rates and ids reaches AUROC {share(other)}, the model "
                f"{share(own)}; these windows cannot show that the model works."
            )
    return tuple(found)


def _row(name: str, row: dict[str, Any]) -> list[str]:
    counts = [str(row.get(key, "n/a")) for key in _COUNTS]
    bounds = row.get("intervals", {})
    return [name, *counts, *(_cell(row.get(key), bounds.get(key)) for key in _NUMBERS)]


def _cell(value: float | int | None, bounds: Sequence[float | int] | None) -> str:
    return share(value) if bounds is None else f"{share(value)} [{share(bounds[0])},{FIRM}{share(bounds[1])}]"


def _overview_row(run: DetectorContent) -> list[str]:
    tasks = run.spec.get("tasks", [])
    data = ", ".join(name for task in tasks for name in task)
    means = (share(run.mean.get(name)) for name in _OVERVIEW)
    return [run.name, data, str(run.spec.get("seed", "n/a")), *means]


def _with_interval(values: Sequence[float | int | None]) -> str:
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    if len(known) < 2 or np.ptp(known) == 0:
        return share(float(known[0])) if len(known) else "n/a"
    ends = interval(known)
    return f"{share(float(known.mean()))} [{share(ends.low)},{FIRM}{share(min(ends.high, 1.0))}]"


def _decision(run: DetectorContent) -> str:
    threshold = "n/a" if run.threshold is None else f"{run.threshold:.4g}"
    size = "" if run.parameters is None else f" The model has {run.parameters:,} parameters."
    return f"Windows with a score above {threshold} are called attacks.{size}"
