"""The effect with its interval, the null below it, and the thresholds of the rule as lines: one panel of every probe.

Source: design notes, "Result": an explicit null stands beside every effect.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes

from figures.style import COLOURS
from figures.wording import label, number, span
from mechlab.result import Result

Kind = Literal["effect", "null", "part"]
_MARKS: dict[Kind, str] = {"effect": "D", "null": "s", "part": "o"}
ROW = 0.27  # inches


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line: a point, its interval where there is one, and its name. Unit: that of the panel."""

    name: str
    value: float | None
    interval: tuple[float, float] | None = None
    kind: Kind = "part"


def rows_of(result: Result, parts: Sequence[Row] = ()) -> list[Row]:
    """Return the effect, what it is made of, and the null."""
    effect = Row(name="effect", value=result.effect, interval=result.interval, kind="effect")
    null = Row(
        name=f"null ({result.null.kind})",
        value=result.null.value,
        interval=result.null.interval,
        kind="null",
    )
    return [effect, *parts, null]


def height(rows: int) -> float:
    """Return the height in inches that so many lines need."""
    return ROW * (rows + 1.2)


def forest(
    ax: Axes, rows: Sequence[Row], *, unit: str, lines: Mapping[str, float], colour: str | None = None
) -> None:
    """Draw rows from top to bottom; `lines` are thresholds (name -> place in the unit of the rows)."""
    places = range(len(rows) - 1, -1, -1)
    for place, row in zip(places, rows, strict=True):
        shade = COLOURS["null"] if row.kind == "null" else COLOURS["ink"]
        if row.kind == "effect" and colour is not None:
            shade = colour
        if row.interval is not None:
            ax.plot(row.interval, (place, place), color=shade, linewidth=2.2, solid_capstyle="butt")
        if row.value is not None:
            ax.plot([row.value], [place], _MARKS[row.kind], color=shade)
        told = "not estimated" if row.value is None else number(row.value)
        told += "" if row.interval is None else f" {span(row.interval)}"
        ax.annotate(told, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=shade)
    ax.set_yticks(list(places), [label(row.name, limit=40) for row in rows])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(-0.7, len(rows) - 0.3)
    _thresholds(ax, lines)
    ax.margins(x=0.08)
    ax.set_xlabel(label(unit, limit=90))


def _thresholds(ax: Axes, lines: Mapping[str, float]) -> None:
    """Draw each threshold and name it above the panel, on levels of its own so that names never meet."""
    for level, (name, place) in enumerate(sorted(lines.items(), key=lambda pair: pair[1])):
        ax.axvline(place, color=COLOURS["threshold"], linestyle="--", linewidth=1.1)
        ax.annotate(
            label(name, limit=60), (place, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 2 + 10 * level),
            textcoords="offset points", ha="center", va="bottom", fontsize=7.5, color=COLOURS["threshold"],
        )  # fmt: skip
