"""The metrics of a run class by class, trivial statistics of the raw image beside every image AUROC.

Source: design notes, P37: on some classes a grey level alone separates.
"""

from dataclasses import dataclass
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes

from figures.page.content import Number, RunContent
from figures.style import COLOURS, WIDTH
from figures.wording import label, share

INPUT = RunContent
DRAWS = ("metrics", "mean", "trivial", "tasks")
_ROW = 0.25  # inches
_AUROCS = {"image_auroc": "image AUROC", "given_image_auroc": "image AUROC, task given"}
_OTHERS = {
    "image_ap": "image AP",
    "image_f1_max": "image F1 max",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "aupro": "AUPRO 30%",
    "routing_accuracy": "routing",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsTable:
    """Header and rows as text; the last row is the mean over classes. All numbers are shares."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    warnings: tuple[str, ...]  # classes in which a trivial statistic is as good as the model


def metrics_table(content: RunContent) -> MetricsTable:
    """Return the table of a run; columns without any value are left out, image AUROC never is."""
    aurocs = ["image_auroc", *(key for key in ("given_image_auroc",) if _is_known(content, key))]
    others = [key for key in _OTHERS if _is_known(content, key)]
    statistics = list(dict.fromkeys(key for name in content.classes for key in content.trivial.get(name, {})))
    trivial = [f"{key.replace('_', ' ')} alone" for key in statistics] or ["trivial statistic"]
    header = ("class", *(_AUROCS[key] for key in aurocs), *trivial, *(_OTHERS[key] for key in others))
    rows = []
    for name in content.classes:
        of_class, beside = content.metrics[name], content.trivial.get(name, {})
        cells = [of_class.get(key) for key in aurocs]
        cells += [beside.get(key) for key in statistics] if statistics else [None]
        rows.append((name, *(share(value) for value in [*cells, *(of_class.get(key) for key in others)])))
    if len(rows) > 1:
        means = [_mean(content, key) for key in aurocs]
        means += [_trivial_mean(content, key) for key in statistics] if statistics else [None]
        rows.append(("mean", *(share(value) for value in [*means, *(_mean(content, key) for key in others)])))
    return MetricsTable(header=header, rows=tuple(rows), warnings=shortcuts(content))


def shortcuts(content: RunContent) -> tuple[str, ...]:
    """Return one sentence for each class in which a trivial statistic separates as well as the model."""
    found = []
    for name in content.classes:
        auroc, best = content.metrics[name].get("image_auroc"), content.best_trivial(name)
        if auroc is not None and best is not None and best[1] >= auroc:
            found.append(
                f"{name}: the {best[0].replace('_', ' ')} of the raw image alone reaches image AUROC "
                f"{share(best[1])}, the model {share(auroc)}; this class cannot show that the model works."
            )
    return tuple(found)


def size(content: RunContent) -> tuple[float, float]:
    """Return the drawing area in inches."""
    table = metrics_table(content)
    return (max(WIDTH, 0.78 * len(table.header) + 0.6), _ROW * (len(table.rows) + 2))


def draw(content: RunContent, ax: Axes) -> None:
    """Draw the table with rules above and below the classes; trivial columns are grey."""
    table = metrics_table(content)
    ax.set_axis_off()
    lines = len(table.rows) + 2
    ax.set(xlim=(0, 1), ylim=(0, lines))
    right = np.linspace(0.12, 1.0, len(table.header))
    for row, cells in enumerate([table.header, *table.rows]):
        height = lines - 1 if row == 0 else lines - 2 - row + 0.5
        for column, cell in enumerate(cells):
            is_trivial = table.header[column].endswith((" alone", "trivial statistic"))
            text = "\n".join(wrap(label(cell, limit=30), 11)) if row == 0 else label(cell, limit=18)
            ax.text(0.0 if column == 0 else float(right[column]), height, text, va="center", fontsize=7.5,
                    ha="left" if column == 0 else "right", color=COLOURS["null" if is_trivial else "ink"],
                    weight="bold" if row == 0 or cells[0] == "mean" else "normal")  # fmt: skip
    rules = [lines - 0.1, lines - 1.9, 0.0]
    if len(table.rows) > 1:
        rules.append(1.0)
    for height in rules:
        ax.axhline(height, color=COLOURS["ink"], linewidth=0.8)


def _is_known(content: RunContent, key: str) -> bool:
    return any(content.metrics[name].get(key) is not None for name in content.classes)


def _mean(content: RunContent, key: str) -> Number:
    if key in content.mean:
        return content.mean[key]
    values = [value for name in content.classes if (value := content.metrics[name].get(key)) is not None]
    return float(np.mean(values)) if values else None


def _trivial_mean(content: RunContent, statistic: str) -> Number:
    values = [content.trivial.get(name, {}).get(statistic) for name in content.classes]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
