"""`mechlab record`: record a trained run's checkpoint."""

from pathlib import Path
from typing import Any

import click

from cli.console import (
    emit_interventions,
    emit_json,
    intervention_options,
    json_option,
    out_option,
    quiet_option,
    reporter,
)


@click.command(name="record")
@click.argument("run")
@click.option(
    "--plan",
    type=click.Path(path_type=Path),
    help="YAML list of {site, quantity, ...}: docs/instrument.md.",
)
@click.option(
    "--site", "sites", multiple=True, help="Pattern of places, e.g. 'flow.*.log_det'; needs --quantity."
)
@click.option("--quantity", "quantities", multiple=True, help="One a --site; see 'mechlab list quantities'.")
@click.option("--every", type=click.IntRange(1), default=1, show_default=True, help="Every n-th image.")
@click.option("--first", type=click.IntRange(1), help="Only the first images of a class.")
@click.option("--at", type=click.IntRange(0), multiple=True, help="Only these images of a class, from 0.")
@click.option("--log-spaced", type=click.IntRange(1), help="Images a doubling: 0, 1, 2, 4, ... for 1.")
@click.option("--reduction", help="norm, moments, covariance, quantiles, subsample:N, sum or total.")
@click.option(
    "--dtype", type=click.Choice(["float16", "float32", "float64"]), default="float32", show_default=True
)
@click.option(
    "--checkpoint",
    "stages",
    type=click.IntRange(0),
    multiple=True,
    help="After which task; default: the last.",
)
@click.option("--split", type=click.Choice(["train", "test"]), default="test", show_default=True)
@click.option("--adapter", "adapters", type=click.IntRange(0), multiple=True,
              help="Which task's expert; default: each image's own.")  # fmt: skip
@click.option("--loss", "losses", multiple=True, help="Loss of gradients: mean, or tail:WEIGHT:RATIO.")
@click.option("--limit", type=click.IntRange(1), help="Images a class at most.")
@click.option("--normal-only", is_flag=True, help="Only normal images.")
@intervention_options
@out_option
@json_option
@quiet_option
def command(run: str, out: Path, as_json: bool, quiet: bool, **words: Any) -> None:  # noqa: ANN401 - click's words
    """Record RUN: latents, log-dets, gradients, weights or scores of a checkpoint.

    \b
    Example:
        mechlab record runs/moleflow-0a1b2c3d4e5f --site latent --quantity latent --limit 4
        mechlab record runs/moleflow-0a1b2c3d4e5f --site latent --quantity latent --reduction subsample:16
    """
    from mechlab.instrument.session import record_run
    from mechlab.runs.folder import find
    from mechlab.runs.interventions import asked
    from mechlab.study.plan import recorded_of

    words["at"] = words["at"] or None
    changes = asked(**{name: words.pop(name) for name in ("ablate", "swap", "patch")})
    found = record_run(find(run, out).path, recorded_of(words) | changes.document(), report=reporter(quiet))
    if as_json:
        emit_json(found)
        return
    click.echo(f"{found['recording']}: {found['bytes'] / 1e6:.1f} MB, {found['dropped']} rows dropped")
    emit_interventions(found)
