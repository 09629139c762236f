"""What a teacher's signals bring: gains of each, detection by arm, likeness to the teacher, calibration.

Source: probe P24; notes 003. Nulls: signs flipped, windows permuted within their log, chance.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from figures.columns import absent, column, described, groups, room, rows_of, spans
from figures.forest import Room, Row, verdict_panel
from figures.forest import size as panel_size
from figures.style import COLOURS, CYCLE
from figures.wording import label
from mechlab.result import Result, Table

INPUT = Result
_ARMS = ("teacher", "without", "latent", "reconstruction", "both", "soft labels")
_MARKS = dict(zip(_ARMS, "*ov^Ds", strict=True))
_SHADES = dict(zip(_ARMS, (COLOURS["ink"], *CYCLE[:5]), strict=True))


def size(result: Result) -> tuple[float, float]:
    """Return the drawing area in inches."""
    return panel_size(len(_parts(result)) + 2, details=_rooms(result))


def draw(result: Result, ax: Axes) -> None:
    """Draw the gains beside their null, then AUROC and CKA by arm, then agreement and calibration."""
    lines = {f"threshold log({result.thresholds['least_ratio']:g})": _limit(result)}
    detection, likeness, judging = verdict_panel(
        result, ax, parts=_parts(result), lines=lines, details=_rooms(result)
    )
    draw_detection(result, detection)
    draw_likeness(result, likeness)
    judging.set_axis_off()
    for table, name, left in (("agreement", "agreement with the teacher", 0.0),
                              ("calibration", "calibration error", 0.58)):  # fmt: skip
        draw_judging(result, judging.inset_axes((left, 0.0, 0.42, 1.0)), table=table, name=name)


def _limit(result: Result) -> float:
    return float(np.log(result.thresholds["least_ratio"]))


def _rooms(result: Result) -> list[Room]:
    return [room(result, "arms", 1.8, above=1.0), room(result, "layers", 1.8, above=1.3),
            room(result, "agreement", 1.5, above=1.3)]  # fmt: skip


def _parts(result: Result) -> list[Row]:
    """Return the gains that are not judged."""
    return [described(row, name=f"{row['system']}: {row['arm']} over {row['against']}")
            for row in rows_of(result, "gains")[1:]]  # fmt: skip


def draw_detection(result: Result, ax: Axes) -> None:
    """Draw AUROC with its interval over seeds: a place a model and group, a mark an arm."""
    rows = tuple(row for row in rows_of(result, "arms") if row["quantity"] == "auroc")
    if not rows:
        absent(ax, "AUROC by arm")
        return
    places = list(groups(rows, "system", "group"))
    _by_arm(ax, rows, keys=("system", "group"), names=[f"{system}, {group}" for system, group in places])
    ax.set_ylabel("AUROC")
    ax.set_title("Detection, means over seeds", fontsize=9, pad=20)


def draw_likeness(result: Result, ax: Axes) -> None:
    """Draw CKA of student and teacher by layer, a mark an arm, and the null as grey squares."""
    rows = rows_of(result, "layers")
    if not rows:
        absent(ax, "layers of student and teacher")
        return
    places = list(groups(rows, "system", "place"))
    names = [f"{system}, {str(place).partition('/')[2]}" for system, place in places]
    _by_arm(ax, rows, keys=("system", "place"), names=names)
    nulls = [float(np.nanmean(column(found, "null"))) for found in groups(rows, "system", "place").values()]
    ax.plot(range(len(nulls)), nulls, "s", color=COLOURS["null"], markersize=3.5, label="null")
    ax.set_ylabel("debiased CKA")
    ax.set_title("Student beside teacher, normal windows", fontsize=9, pad=20)
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=6, fontsize=6.5, borderaxespad=0.1)


def draw_judging(result: Result, ax: Axes, *, table: str, name: str) -> None:
    """Draw a quantity of each arm with its interval over seeds, beside what chance gives of it."""
    rows = rows_of(result, table)
    if not rows:
        absent(ax, name)
        return
    places = np.arange(len(rows))
    ax.errorbar(places, column(rows, "mean"), yerr=spans(rows), fmt="o", color=COLOURS["normal"], capsize=2,
                label="measured")  # fmt: skip
    ax.plot(places, column(rows, "null"), "s", color=COLOURS["null"], markersize=3.5, label="null")
    _ticks(ax, [f"{row['system']} {row['arm']}" for row in rows])
    ax.set_ylabel(label(name, limit=32))
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, fontsize=6.5, borderaxespad=0.1)


def _by_arm(ax: Axes, rows: Table, *, keys: tuple[str, str], names: Sequence[str]) -> None:
    """Draw means with intervals: a place for each value of `keys`, side by side the arms."""
    places = {pair: at for at, pair in enumerate(groups(rows, *keys))}
    arms = [arm for arm in _ARMS if any(row["arm"] == arm for row in rows)]
    for shift, arm in zip(np.linspace(-0.3, 0.3, max(2, len(arms))), arms, strict=False):
        own = [row for row in rows if row["arm"] == arm]
        x = np.array([places[row[keys[0]], row[keys[1]]] for row in own]) + shift
        ax.errorbar(x, column(own, "mean"), yerr=spans(own), fmt=_MARKS[arm], color=_SHADES[arm], capsize=2,
                    markersize=4, label=arm)  # fmt: skip
    _ticks(ax, names)
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=6, fontsize=6.5, borderaxespad=0.1)


def _ticks(ax: Axes, names: Sequence[str]) -> None:
    shown = [label(name.replace("_", " "), limit=36) for name in names]
    ax.set_xticks(range(len(shown)), shown, rotation=20, ha="right", rotation_mode="anchor", fontsize=7)
    ax.set_xlim(-0.6, len(names) - 0.4)
