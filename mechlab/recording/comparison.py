"""Two recordings side by side, key by key: which rows both have, and how far their values lie apart.

Rows are the same when their coordinates are: training step, stage, adapter, loss, and the image itself (not
its place in the item table). Rows with equal coordinates are matched in their order. Values are read in
blocks, so that recordings of any size are compared.
"""

from typing import Any

import numpy as np
from jaxtyping import Int

from mechlab.recording.format import AXES
from mechlab.recording.items import identity
from mechlab.recording.quantity import Quantity
from mechlab.recording.reader import Recording

BLOCK_BYTES = 4 * 1024**2  # of one side, as float64
PLACES = (*AXES, "loss")  # coordinates that say where a row belongs; any other is a value beside it
Rows = Int[np.ndarray, " row"]


def recording_difference(first: Recording, second: Recording) -> dict[str, Any]:
    """Return what `mechlab diff --json` prints for two recordings.

    Each key that both have has the shapes, `rows_common`, `steps_common`, the largest absolute and relative
    difference over common rows (relative: |a - b| / max(|a|, |b|), None where no two numbers can be
    compared), `differing` (values that are not equal) and `identical`. Stored values are divided by their
    coordinate `scale` first.
    """
    items = _Items(first, second)
    keys = [_key(first[key], second[key], items) for key in first if key in second]
    only_first = [_alone(first[key]) for key in first if key not in second]
    only_second = [_alone(second[key]) for key in second if key not in first]
    return {
        "kind": "recordings",
        "first": str(first.path),
        "second": str(second.path),
        "identical": not (only_first or only_second) and all(row["identical"] for row in keys),
        "items": {"first": len(first.items), "second": len(second.items), "common": items.common},
        "keys": keys,
        "only_first": only_first,
        "only_second": only_second,
    }


class _Items:
    """The item tables of both recordings under one numbering."""

    def __init__(self, first: Recording, second: Recording) -> None:
        tables = [[identity(item) for item in found.items] for found in (first, second)]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(tables[0] + tables[1]))}
        self.numbers = [np.array([numbers[name] for name in table], dtype=np.int64) for table in tables]
        self.common = len(set(tables[0]) & set(tables[1]))

    def common_numbers(self, side: int, rows: Rows) -> Rows:
        """Return the images of one side's rows under the common numbering; without tables, as they are."""
        return self.numbers[side][rows] if all(map(len, self.numbers)) else rows


def _key(one: Quantity, two: Quantity, items: _Items) -> dict[str, Any]:
    rows = _common_rows(one, two, items)
    fits = one.shape[1:] == two.shape[1:] and one.axes == two.axes
    found = {
        "key": one.key,
        "axes": list(one.axes),
        "shape": list(one.shape),
        "shape_second": list(two.shape),
        "unit": one.unit,
        "unit_second": two.unit,
        "rows_common": len(rows[0]),
        "steps_common": _steps(one, rows[0]),
        "absolute": None,
        "relative": None,
        "differing": None,
        "identical": False,
    }
    if fits and one.unit == two.unit and _is_text(one) == _is_text(two):
        found |= _distance(one, two, rows)
        all_rows = len(rows[0]) == len(one) == len(two)
        found["identical"] = all_rows and found["differing"] == 0 and one.dtype == two.dtype
    return found


def _common_rows(one: Quantity, two: Quantity, items: _Items) -> tuple[Rows, Rows]:
    """Return the rows of either that have their partner in the other, in the order of the first."""
    names = [name for name in one.coordinates if name in two.coordinates and name in PLACES]
    codes = np.zeros(len(one) + len(two), dtype=np.int64)
    for name in names:
        sides = [quantity.coordinates[name] for quantity in (one, two)]
        if name == "item":
            sides = [items.common_numbers(side, rows) for side, rows in enumerate(sides)]
        _, values = np.unique(np.concatenate(sides), return_inverse=True)
        _, codes = np.unique(codes * (values.max(initial=0) + 1) + values, return_inverse=True)
    first, second = codes[: len(one)], codes[len(one) :]
    counts = [_occurrences(side) for side in (first, second)]
    most = 1 + max(int(count.max(initial=0)) for count in counts)
    _, mine, theirs = np.intersect1d(
        first * most + counts[0], second * most + counts[1], assume_unique=True, return_indices=True
    )
    order = np.argsort(mine)
    return mine[order], theirs[order]


def _occurrences(codes: Rows) -> Rows:
    """Return how often each code stood before."""
    order = np.argsort(codes, kind="stable")
    is_new = np.diff(codes[order], prepend=-1) != 0
    begins = np.flatnonzero(is_new)
    found = np.empty_like(codes)
    found[order] = np.arange(len(codes)) - np.repeat(begins, np.diff(np.append(begins, len(codes))))
    return found


def _distance(one: Quantity, two: Quantity, rows: tuple[Rows, Rows]) -> dict[str, Any]:
    absolute = relative = None
    differing = 0
    size = max(1, int(np.prod(one.shape[1:], dtype=np.int64)) * 8)
    step = max(1, BLOCK_BYTES // size)
    for at in range(0, len(rows[0]), step):
        a, b = one.exact(rows[0][at : at + step]), two.exact(rows[1][at : at + step])
        if _is_text(one):
            differing += int((a != b).sum())
            continue
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            gap, size_of = np.abs(a - b), np.maximum(np.abs(a), np.abs(b))
            equal = (a == b) | (np.isnan(a) & np.isnan(b))
            comparable = np.isfinite(gap)
            share = np.where(equal, 0.0, gap / size_of)
        differing += int((~equal).sum())
        absolute = _larger(absolute, np.where(equal, 0.0, gap)[comparable | equal])
        relative = _larger(relative, share[comparable | equal])
    return {"absolute": absolute, "relative": relative, "differing": differing}


def _larger(before: float | None, values: np.ndarray) -> float | None:
    return max(before or 0.0, float(values.max())) if values.size else before


def _steps(quantity: Quantity, rows: Rows) -> int | None:
    steps = quantity.coordinates.get("step")
    return None if steps is None else len(np.unique(steps[rows]))


def _is_text(quantity: Quantity) -> bool:
    return quantity.dtype.kind == "U"


def _alone(quantity: Quantity) -> dict[str, Any]:
    return {"key": quantity.key, "axes": list(quantity.axes), "shape": list(quantity.shape)}
