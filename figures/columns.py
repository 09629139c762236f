"""Columns of a result's tables as arrays: an absent number is NaN, so that nothing is drawn for it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from figures.forest import Room, Row
from mechlab.result import Result, Table


def rows_of(result: Result, table: str) -> Table:
    """Return the rows of a table; none when the result lacks it."""
    return result.tables.get(table, ())


def column(rows: Sequence[Mapping[str, Any]], name: str) -> Float[np.ndarray, " n"]:
    """Return one column in float64; None and absent become NaN."""
    values = [row.get(name) for row in rows]
    return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)


def spans(
    rows: Sequence[Mapping[str, Any]], *, middle: str = "mean", low: str = "low", high: str = "high"
) -> Float[np.ndarray, "2 n"]:
    """Return how far the ends of each interval are below and above its middle, as error bars want it."""
    values = column(rows, middle)
    lengths = np.stack([values - column(rows, low), column(rows, high) - values])
    return np.asarray(np.maximum(np.nan_to_num(lengths), 0.0))


def described(row: Mapping[str, Any], *, name: str) -> Row:
    """Return a row with mean, low and high as a line of the verdict panel."""
    low, high = row.get("low"), row.get("high")
    ends = None if low is None or high is None else (float(low), float(high))
    return Row(name=name, value=row.get("mean"), interval=ends)


def groups(rows: Table, *keys: str) -> dict[tuple[Any, ...], Table]:
    """Return the rows that agree in `keys`, in the order of their first row."""
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(tuple(row.get(key) for key in keys), []).append(row)
    return {key: tuple(group) for key, group in found.items()}


def room(result: Result, table: str, height: float, *, above: float = 0.8) -> Room:
    """Return the room of a panel that shows a table; one line when the result lacks it."""
    return Room(height, above) if rows_of(result, table) else Room(0.2, 0.6)


def absent(ax: Axes, what: str) -> None:
    """Say in the middle of an empty panel what the result lacks."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, f"this result has no {what}", ha="center", va="center", transform=ax.transAxes)
