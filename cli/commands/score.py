"""`mechlab score`: a trained run on the user's own images."""

from pathlib import Path

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

    Several runs are scored as one: the mean of their z-scores, on the scale of the first.

    \b
    Example:
        mechlab score runs/moleflow-0a1b2c3d4e5f my-images --out scored
    """
    from mechlab.runs.folder import find
    from mechlab.train.ensemble_images import score_together

    runs = [find(name, out) for name in run]
    found = score_together(
        runs, folder, target, task=task, sigma=sigma, device=device, report=reporter(quiet)
    )
    if as_json:
        emit_json({"scores": str(target / "scores.csv"), "maps": str(target / "maps"), "images": found})
        return
    emit_table(
        ("image", "score", "threshold", "anomalous", "task"),
        [[row["image"], row["score"], row["threshold"], row["anomalous"], row["task"]] for row in found],
    )
