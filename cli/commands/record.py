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
from cli.plan_options import PlanCommand, one_plan, plan_entries, plan_options


@click.command(name="record", cls=PlanCommand)
@click.argument("run")
@click.option(
    "--plan",
    type=click.Path(path_type=Path),
    help="YAML list of {site, quantity, ...}: docs/instrument.md.",
)
@plan_options
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
        mechlab record runs/moleflow-0a1b2c3d4e5f --dtype float16 \\
            --site latent --quantity latent --reduction subsample:16 --first 8 \\
            --site 'flow.*.log_det' --quantity log_det --every 4
    """
    from mechlab.instrument.session import record_run
    from mechlab.runs.folder import find
    from mechlab.runs.interventions import asked
    from mechlab.study.plan import recorded_of

    words["plan"] = one_plan(words["plan"], plan_entries(words), option="--plan")
    changes = asked(**{name: words.pop(name) for name in ("ablate", "swap", "patch")})
    found = record_run(find(run, out).path, recorded_of(words) | changes.document(), report=reporter(quiet))
    if as_json:
        emit_json(found)
        return
    click.echo(f"{found['recording']}: {found['bytes'] / 1e6:.1f} MB, {found['dropped']} rows dropped")
    emit_interventions(found)
