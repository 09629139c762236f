"""`mechlab patchcore`: the banks of a PatchCore run as files, and images scored by such a file."""

from pathlib import Path

import click

from cli.console import emit_json, emit_table, json_option


@click.group(name="patchcore")
def command() -> None:
    """Banks of a PatchCore run as files of their own.

    \b
    Example:
        mechlab patchcore export runs/patchcore-0a1b2c3d4e5f --out banks
        mechlab patchcore score banks/gear.npy my-images --out scored
    """


@command.command(name="export")
@click.argument("run")
@click.option("--out", "target", type=click.Path(path_type=Path), required=True, help="Folder of the banks.")
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
@json_option
def export_command(run: str, target: Path, runs: Path, as_json: bool) -> None:
    """Write each task's bank of RUN as a .npy file (patch, dim) with a .json of its meaning beside it.

    \b
    Example:
        mechlab patchcore export runs/patchcore-0a1b2c3d4e5f --out banks
    """
    from mechlab.runs.folder import find
    from mechlab.systems import load

    export = load("reproductions.patchcore.exchange:export")
    files = [str(file) for file in export(find(run, runs), target)]
    emit_json({"banks": files}) if as_json else click.echo("\n".join(files))


@command.command(name="score")
@click.argument("bank", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out", "target", type=click.Path(path_type=Path), required=True, help="Folder of scores and maps."
)
@click.option("--weights", help="Of the backbone, as in the training; default: the backbone's own.")
@json_option
def score_command(bank: Path, folder: Path, target: Path, weights: str | None, as_json: bool) -> None:
    """Score every image below FOLDER by a BANK file: no run and no data set are needed.

    \b
    Example:
        mechlab patchcore score banks/gear.npy my-images --out scored
    """
    from mechlab.systems import load

    found = load("reproductions.patchcore.scoring:score_by_bank")(bank, folder, target, weights=weights)
    if as_json:
        emit_json({"scores": str(target / "scores.csv"), "maps": str(target / "maps"), "images": found})
        return
    emit_table(
        ("image", "score", "threshold", "anomalous"),
        [[row["image"], row["score"], row["threshold"], row["anomalous"]] for row in found],
    )
