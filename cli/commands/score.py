"""`mechlab score`: a trained run on the user's own images or logs."""

from pathlib import Path
from typing import Any

import click

from cli.console import emit_json, emit_table, json_option, quiet_option, reporter


@click.command(name="score")
@click.argument("run", nargs=-1, required=True)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out", "target", type=click.Path(path_type=Path), required=True, help="Folder of scores and maps."
)
@click.option("--runs", "out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
@click.option(
    "--task", type=click.IntRange(0), help="Score by this task's expert; default: the router chooses."
)
@click.option("--sigma", help="Pixels of the Gaussian over the maps; default: that of the run.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@json_option
@quiet_option
def command(
    run: tuple[str, ...],
    folder: Path,
    target: Path,
    out: Path,
    task: int | None,
    sigma: str | None,
    device: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Score every image below FOLDER with RUN: scores.csv, and one anomaly map (.npy and .png) an image.

    A run on CAN logs scores every window of the logs below FOLDER, or of one log: a row a window.

    Several runs are scored as one: the mean of their z-scores, on the scale of the first.

    \b
    Example:
        mechlab score runs/moleflow-0a1b2c3d4e5f my-images --out scored
        mechlab score runs/gat-0a1b2c3d4e5f drive.log --out scored
    """
    from mechlab.runs.folder import find
    from mechlab.train.asked_scoring import score_as_asked

    runs = [find(name, out) for name in run]
    found = score_as_asked(
        runs, folder, target, task=task, sigma=sigma, device=device, report=reporter(quiet)
    )
    if as_json:
        emit_json(found)
    elif "windows" in found:
        _emit_logs(found["windows"])
    else:
        columns = ("image", "score", "threshold", "anomalous", "task")
        emit_table(columns, [[row[column] for column in columns] for row in found["images"]])


def _emit_logs(rows: list[dict[str, Any]]) -> None:
    """Print a line a log; the windows are in the file."""
    lines = []
    for log in dict.fromkeys(row["log"] for row in rows):
        own = [row for row in rows if row["log"] == log]
        known = [row["label"] for row in own if row["label"] is not None]
        highest = max(own, key=lambda row: float(row["score"]))
        lines.append([log, len(own), sum(row["anomalous"] for row in own), sum(known) if known else None,
                      highest["score"], f"{highest['start']:.6f}"])  # fmt: skip
    emit_table(("log", "windows", "called attacks", "labelled attacks", "highest score", "at second"), lines)
