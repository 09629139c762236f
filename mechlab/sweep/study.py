"""What a finished sweep says: the best arms, one key at a time, whether gains add up, classes, the front.

Every number is of the table (`mechlab.sweep.table`): means over seeds, differences paired by seed with
Student's t interval. The best of many arms by a test metric is optimistic, which whoever prints it says.
Source: inventory O7; notes 004 L4730 on.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mechlab.errors import unknown
from mechlab.sweep.table import METRICS

Row = Mapping[str, Any]  # of the table
TOP = 10


def report(document: Mapping[str, Any], *, metric: str | None = None, top: int = TOP) -> dict[str, Any]:
    """Return the parts of a study's report by name, each a list of rows; `metric` is the first of its table.

    Raises:
        MechlabError: an unknown metric.
    """
    metrics = tuple(document.get("metrics", METRICS))
    metric = metric or metrics[0]
    if metric not in metrics:
        raise unknown("metric of a sweep", metric, metrics)
    done = [row for row in document["arms"] if row[metric] is not None]
    return {
        "metric": metric,
        "metrics": list(metrics),
        "top": ranked(done, metric=metric, metrics=metrics)[:top],
        "one_factor": one_factor(done, metric=metric),
        "gains": gains(done, metric=metric),
        "classes": class_changes(document.get("classes", {}), done, metric=metric),
        "front": front(done, metrics=pair_of(metrics)),
        "avoid": avoided(done, metric=metric),
    }


def pair_of(metrics: Sequence[str]) -> tuple[str, str]:
    """Return the two metrics of the front: the first one and the last one, of images AUROC and pixel AP."""
    return metrics[0], metrics[-1]


def ranked(rows: Sequence[Row], *, metric: str, metrics: Sequence[str] = METRICS) -> list[dict[str, Any]]:
    """Return arms from the best mean down."""
    ordered = sorted(rows, key=lambda row: -row[metric]["mean"])
    return [{"arm": row["arm"], **{name: _mean(row[name]) for name in metrics}} for row in ordered]


def one_factor(rows: Sequence[Row], *, metric: str) -> list[dict[str, Any]]:
    """Return the paired effect of each key that an arm changes alone, the largest first."""
    found = [
        {
            "key": row["differs"][0],
            "arm": row["arm"],
            "against": row["against"],
            **row[f"{metric}_difference"],
        }
        for row in rows
        if len(row["differs"]) == 1 and row[f"{metric}_difference"] is not None
    ]
    return sorted(found, key=lambda row: -abs(row["mean"]))


def gains(rows: Sequence[Row], *, metric: str) -> list[dict[str, Any]]:
    """Return for each arm that builds on another one: its joint gain over the root, and the sum of singles.

    A single is an arm that changes the same one key of the root; where one is missing, nothing is told.
    """
    by_name = {row["arm"]: row for row in rows}
    found = []
    for row in rows:
        chain = _chain(row, by_name)
        if len(chain) < 3:
            continue
        root, keys = chain[-1], [step["differs"] for step in chain[:-1]]
        singles = [_single(key, root["arm"], rows, metric) for key in keys]
        if any(len(key) != 1 for key in keys) or any(single is None for single in singles):
            continue
        joint = row[metric]["mean"] - root[metric]["mean"]
        total = sum(single for single in singles if single is not None)
        found.append({"arm": row["arm"], "root": root["arm"], "keys": [key[0] for key in keys[::-1]],
                      "joint": joint, "sum_of_singles": total, "interaction": joint - total})  # fmt: skip
    return found


def _chain(row: Row, by_name: Mapping[str, Row]) -> list[Row]:
    chain = [row]
    while (against := chain[-1]["against"]) is not None and against in by_name:
        chain.append(by_name[against])
    return chain


def _single(keys: Sequence[str], root: str, rows: Sequence[Row], metric: str) -> float | None:
    for row in rows:
        if row["against"] == root and list(row["differs"]) == list(keys) and row[f"{metric}_difference"]:
            return float(row[f"{metric}_difference"]["mean"])
    return None


def class_changes(
    classes: Mapping[str, Mapping[str, Mapping[str, float]]], rows: Sequence[Row], *, metric: str
) -> list[dict[str, Any]]:
    """Return each arm's change of each class against the arm it changes; `classes`: arm → class → metric."""
    found = []
    for row in rows:
        own, other = classes.get(row["arm"], {}), classes.get(row["against"] or "", {})
        changes = {name: own[name][metric] - other[name][metric] for name in own.keys() & other.keys()
                   if own[name].get(metric) is not None and other[name].get(metric) is not None}  # fmt: skip
        if changes:
            found.append(
                {"arm": row["arm"], "against": row["against"], "changes": dict(sorted(changes.items()))}
            )
    return found


def front(rows: Sequence[Row], *, metrics: tuple[str, str] = pair_of(METRICS)) -> list[dict[str, Any]]:
    """Return the arms that no other arm beats in one metric without losing in the other."""
    known = [row for row in rows if all(row[name] is not None for name in metrics)]
    points = [(row, tuple(row[name]["mean"] for name in metrics)) for row in known]
    kept = [
        (row, point)
        for row, point in points
        if not any(
            all(a >= b for a, b in zip(other, point, strict=True)) and other != point for _, other in points
        )
    ]
    return [{"arm": row["arm"], **dict(zip(metrics, point, strict=True))}
            for row, point in sorted(kept, key=lambda pair: -pair[1][0])]  # fmt: skip


def avoided(rows: Sequence[Row], *, metric: str) -> list[dict[str, Any]]:
    """Return the arms that are worse than the arm they change by their whole interval."""
    found = []
    for row in rows:
        difference = row[f"{metric}_difference"]
        if difference and difference["high"] is not None and difference["high"] < 0:
            found.append(
                {"arm": row["arm"], "against": row["against"], "differs": row["differs"], **difference}
            )
    return found


def _mean(value: Mapping[str, Any] | None) -> float | None:
    return None if value is None else float(value["mean"])
