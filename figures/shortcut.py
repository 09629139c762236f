"""Image AUROC of trivial statistics, class by class, beside permuted labels and the model without them.

Source: probe P37. A class in which a grey level alone separates cannot show that a model works.
"""

import numpy as np
from matplotlib.axes import Axes

from figures.columns import absent, column, groups, room, rows_of, spans
from figures.forest import Room, verdict_panel
from figures.forest import size as panel_size
from figures.style import COLOURS, CYCLE
from figures.wording import label
from mechlab.result import Result, Table

INPUT = Result
_UPRIGHT = 5  # classes up to which names stand upright
_MARKS = ("o", "^", "v", "P", "X")
_SCORES = {
    "model_auroc": "model",
    "within_labels": "all statistics partialled out, slopes within labels",
    "over_all_images": "all statistics partialled out, slopes over all images",
}


def size(result: Result) -> tuple[float, float]:
    """Return the drawing area in inches."""
    return panel_size(2, details=_details(result))


def draw(result: Result, ax: Axes) -> None:
    """Draw the largest AUROC beside its null, every class and statistic, and what is left of the model."""
    limit = result.thresholds["trivial_auroc"]
    lines = {f"threshold {limit:g}": limit}
    classes, scores = verdict_panel(result, ax, lines=lines, details=_details(result))
    draw_classes(result, classes)
    draw_scores(result, scores)


def _details(result: Result) -> list[Room]:
    """Return the rooms of the two panels below; many classes have their names slanted."""
    many = len(rows_of(result, "classes")) > _UPRIGHT
    return [room(result, "statistics", 1.9), room(result, "scores", 1.6, above=1.5 if many else 0.95)]


def draw_classes(result: Result, ax: Axes) -> None:
    """Draw each statistic of each class with its interval, over the range that permuted labels give."""
    rows = rows_of(result, "statistics")
    if not rows:
        absent(ax, "class with enough images of both labels")
        return
    names = list(dict.fromkeys(str(row["class_name"]) for row in rows))
    found = groups(rows, "statistic")
    for at, ((statistic,), of_statistic) in enumerate(found.items()):
        shift = (at - (len(found) - 1) / 2) * 0.2
        places = np.array([names.index(str(row["class_name"])) for row in of_statistic]) + shift
        ax.errorbar(places, column(of_statistic, "largest"), yerr=spans(of_statistic, middle="largest"),
                    fmt=_MARKS[at % len(_MARKS)], color=CYCLE[at % len(CYCLE)], capsize=2,
                    label=label(str(statistic)))  # fmt: skip
    null = rows_of(result, "classes")
    at_null = np.array([names.index(str(row["class_name"])) for row in null], dtype=np.float64)
    ax.bar(at_null, column(null, "null_high") - column(null, "null_low"), bottom=column(null, "null_low"),
           width=0.8, color=COLOURS["null"], alpha=0.25, label="permuted labels (null), largest")  # fmt: skip
    ax.axhline(result.thresholds["trivial_auroc"], color=COLOURS["threshold"], linestyle="--", linewidth=1.1)
    _finish(ax, names)
    ax.set_ylabel("image AUROC of one\nstatistic (either direction)")
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=4, borderaxespad=0.2)


def draw_scores(result: Result, ax: Axes) -> None:
    """Draw the model's AUROC as it is, and with all statistics partialled out, means over recordings."""
    rows: Table = tuple(row for row in rows_of(result, "scores") if row["statistic"] == "all")
    if not rows:
        absent(ax, "scores of a model")
        return
    found = groups(rows, "class_name")
    for at, (key, name) in enumerate(_SCORES.items()):
        means = [float(np.mean(column(of_class, key))) for of_class in found.values()]
        ax.plot(np.arange(len(found)) + (at - 1) * 0.2, means, _MARKS[at], color=CYCLE[at], label=name)
    ax.axhline(0.5, color=COLOURS["null"], linestyle=":", linewidth=1.0, label="chance")
    _finish(ax, [str(name) for (name,) in found])
    ax.set_ylabel("image AUROC\nof the model")
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.2, fontsize=7)


def _finish(ax: Axes, names: list[str]) -> None:
    many = len(names) > _UPRIGHT
    ax.set_xticks(range(len(names)), [label(name, limit=16) for name in names], fontsize=7,
                  rotation=40 if many else 0, ha="right" if many else "center",
                  rotation_mode="anchor" if many else "default")  # fmt: skip
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.set_ylim(min(0.45, ax.get_ylim()[0]), max(1.02, ax.get_ylim()[1]))
    ax.set_xlabel("class")
