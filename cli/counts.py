"""Numbers of parameters as tables: of a run, and of presets after some tasks."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from cli.console import emit_table


def emit_counts(found: Mapping[str, Any]) -> None:
    """Print how many numbers a run holds, by part, and how many it trained in each task."""
    trained = ", ".join(f"{count:,}" for count in found["trained"])
    click.echo(f"numbers after {found['tasks']} tasks: {found['total']:,}; trained by task: {trained}")
    rows = [[name, f"{part['total']:,}", f"{part['trained']:,}"] for name, part in found["parts"].items()]
    emit_table(("of", "numbers", "trained in the last task"), rows)


def emit_preset_counts(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print how many numbers each preset holds after some tasks, by part, and trains in a task."""
    parts = sorted({name for row in rows for name, part in row["parts"].items() if part["total"]})
    head = ("name", "D", f"after {rows[0]['tasks']} tasks", "ratio", "in task 0", "in later ones", *parts)
    emit_table(head, [_row(row, parts) for row in rows])


def _row(row: Mapping[str, Any], parts: Sequence[str]) -> list[object]:
    sizes = [row["parts"][name]["total"] if name in row["parts"] else 0 for name in parts]
    counted = (row["trained_first"], row["trained_later"], *sizes)
    ratio = f"{row['ratio']:.2f}" if "ratio" in row else ""
    return [row["name"], row["dim"], f"{row['total']:,}", ratio, *[f"{count:,}" for count in counted]]
