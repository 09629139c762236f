"""The effect with its interval, the null below it, the thresholds of the rule: one panel of every probe.

Source: design notes, "Result": an explicit null stands beside every effect.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Literal

from matplotlib.axes import Axes

from figures.style import COLOURS, WIDTH
from figures.wording import heading, label, number, span
from mechlab.result import Result

Kind = Literal["effect", "null", "part"]
_MARKS: dict[Kind, str] = {"effect": "D", "null": "s", "part": "o"}
_ROW = 0.32  # inches
_SIDES = (0.32, 0.49)  # left edge and width of the panel; names stand left of it, numbers right


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line: a point, its interval where there is one, and its name. Unit: that of the panel."""

    name: str
    value: float | int | None
    interval: tuple[float, float] | None = None
    kind: Kind = "part"


@dataclass(frozen=True, slots=True)
class Room:
    """The height of a panel, and the space above it for labels, title and legend; both in inches."""

    height: float
    above: float = 0.8


def rows_of(result: Result, parts: Sequence[Row] = ()) -> list[Row]:
    """Return the effect, what it is made of, and the null."""
    effect = Row(name="effect", value=result.effect, interval=result.interval, kind="effect")
    kind = "null: " + result.null.kind.partition(":")[0]
    return [
        effect,
        *parts,
        Row(name=kind, value=result.null.value, interval=result.null.interval, kind="null"),
    ]


def size(rows: int, *, details: Sequence[Room]) -> tuple[float, float]:
    """Return the drawing area in inches of a probe's figure: so many rows, and rooms below them."""
    return (WIDTH, _ROW * rows + sum(room.above + room.height for room in details))


def verdict_panel(
    result: Result,
    ax: Axes,
    *,
    parts: Sequence[Row] = (),
    lines: Mapping[str, float],
    details: Sequence[Room] = (),
) -> list[Axes]:
    """Draw title, effect, parts and null at the top of `ax`; return one panel below it for each room."""
    rows = rows_of(result, parts)
    whole = size(len(rows), details=details)[1]
    bottom = 1 - _ROW * len(rows) / whole
    top = ax.inset_axes((_SIDES[0], bottom, _SIDES[1], 1 - bottom))
    ax.set_axis_off()
    ax.set_title(heading(result), pad=12 + 10 * len(lines))
    forest(top, rows, unit=result.unit, lines=lines, colour=COLOURS[result.verdict])
    made = []
    for room in details:
        bottom -= (room.above + room.height) / whole
        made.append(ax.inset_axes((0.0, bottom, 1.0, room.height / whole)))
    return made


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
        beside = ("axes fraction", "data")
        ax.annotate(told, (1.02, place), xycoords=beside, va="center", fontsize=8, color=shade)
    ax.set_yticks(list(places), ["\n".join(wrap(label(row.name, limit=62), 33)) for row in rows])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(-0.6, len(rows) - 0.4)
    _thresholds(ax, lines)
    ax.margins(x=0.08)
    ax.set_xlabel(label(unit, limit=70))


def _thresholds(ax: Axes, lines: Mapping[str, float]) -> None:
    """Draw each threshold and name it above the panel, on levels of its own so that names never meet."""
    for level, (name, place) in enumerate(sorted(lines.items(), key=lambda pair: pair[1])):
        ax.axvline(place, color=COLOURS["threshold"], linestyle="--", linewidth=1.1)
        ax.annotate(
            label(name, limit=60), (place, 1.0), xycoords=("data", "axes fraction"),
            xytext=(0, 2 + 10 * level), textcoords="offset points",
            ha="center", va="bottom", fontsize=7.5, color=COLOURS["threshold"],
        )  # fmt: skip
