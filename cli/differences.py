"""The text of a diff: tables of two runs, two checkpoints or two recordings."""

from collections.abc import Callable
from typing import Any

import click

from cli.console import emit_table

SHOWN = 40  # rows of a table; --json has all


def emit_difference(found: dict[str, Any]) -> None:
    """Print what `mechlab.runs.sides.compared` found."""
    shown: dict[str, Callable[[dict[str, Any]], None]] = {
        "runs": _runs, "checkpoints": _checkpoints, "recordings": _recordings
    }  # fmt: skip
    shown[found["kind"]](found)


def _runs(found: dict[str, Any]) -> None:
    emit_table(
        ("spec key", "first", "second"),
        [[row["key"], str(row["first"]), str(row["second"])] for row in found["spec"]],
    )
    if found["aspects"]:
        emit_table(
            ("aspect", "first", "second"),
            [[row["aspect"], row["first"], row["second"]] for row in found["aspects"]],
        )
    for name in ("declared", "observed"):
        click.echo(
            f"{name}: {len(found[name])} parameters differ"
            + "".join(f"\n  {row}" for row in found[name][:10])
        )
    click.echo(f"trajectory equal: {'yes' if found['trajectory_equal'] else 'no'}")
    if found["no_op"]:
        click.echo(f"NO-OP: {found['no_op']}")
    emit_table(
        ("metric", "first", "second", "difference"),
        [[row["metric"], row["first"], row["second"], row["difference"]] for row in found["metrics"]],
    )


def _checkpoints(found: dict[str, Any]) -> None:
    moved = [row for row in found["parameters"] if not row["identical"]]
    same = len(found["parameters"]) - len(moved)
    click.echo(f"{len(moved)} parameters differ, {same} are bit-identical")
    rows = [[row["name"], _shape(row), _short(row["norm"]), _short(row["relative"])] for row in moved]
    _emit(("parameter", "shape", "norm of the difference", "relative change"), rows)
    _only(found, "name")


def _recordings(found: dict[str, Any]) -> None:
    items = found["items"]
    click.echo(f"images: {items['first']} and {items['second']}, {items['common']} in common")
    rows = [
        [
            row["key"],
            _shape(row),
            row["rows_common"],
            row["steps_common"],
            _short(row["absolute"]),
            _short(row["relative"]),
            row["differing"],
        ]
        for row in found["keys"]
    ]
    head = ("key", "shape", "rows in common", "steps", "largest difference", "relative", "values that differ")
    _emit(head, rows)
    _only(found, "key")
    click.echo(f"identical: {'yes' if found['identical'] else 'no'}")


def _emit(head: tuple[str, ...], rows: list[list[object]]) -> None:
    if rows:
        emit_table(head, rows[:SHOWN])
    if len(rows) > SHOWN:
        click.echo(f"and {len(rows) - SHOWN} more; --json has all")


def _only(found: dict[str, Any], name: str) -> None:
    for side in ("first", "second"):
        for row in found[f"only_{side}"]:
            click.echo(f"only in the {side}: {row[name]} {row['shape']}")


def _shape(row: dict[str, Any]) -> str:
    one, two = (" × ".join(map(str, row[name])) or "1" for name in ("shape", "shape_second"))
    return one if one == two else f"{one} against {two}"


def _short(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4g}"
