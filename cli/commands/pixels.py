"""`mechlab pixels`: pixel metrics of a finished run to any false-positive rate, exact or streamed."""

from pathlib import Path

import click

from cli.console import emit_json, emit_table, json_option, number, out_option, quiet_option, reporter


@click.command(name="pixels")
@click.argument("run")
@click.option(
    "--limit", "limits", type=float, multiple=True,
    help="False-positive rate to which overlap is integrated; again for more. Default: 0.3, 0.05.",
)  # fmt: skip
@click.option("--saturation", help="Of a region, for AUC-sPRO: a share such as 0.5, or pixels such as 30px.")
@click.option("--streaming", is_flag=True, help="From counts in fixed bins, in memory that does not grow.")
@out_option
@json_option
@quiet_option
def command(
    run: str,
    out: Path,
    limits: tuple[float, ...],
    saturation: str | None,
    streaming: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Measure RUN's maps once more: AUROC, AP, AUPRO, AUC-sPRO, AUPIMO; nothing is scored again.

    \b
    Example:
        mechlab pixels runs/moleflow-0a1b2c3d4e5f --limit 0.05 --saturation 0.5
    """
    from mechlab.runs.folder import find
    from mechlab.train.pixels import pixel_report

    found = pixel_report(find(run, out), limits=limits or (0.3, 0.05), saturated=saturation,
                         is_streaming=streaming, report=reporter(quiet))  # fmt: skip
    if as_json:
        emit_json(found)
        return
    rows = {**found["metrics"], "mean": found["mean"]}
    names = list(found["mean"])
    emit_table(
        ("class", *names),
        [[row, *(number(values.get(name)) for name in names)] for row, values in rows.items()],
    )
