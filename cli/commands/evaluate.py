"""`mechlab evaluate`: score a finished run with another router, aggregation or sigma, or a changed flow."""

from pathlib import Path
from typing import Any

import click

from cli.console import (
    emit_interventions,
    emit_json,
    emit_metrics,
    intervention_options,
    json_option,
    number,
    out_option,
    quiet_option,
    reporter,
)


@click.command(name="evaluate")
@click.argument("run", nargs=-1, required=True)
@click.option("--router", help="mahalanobis, euclidean, oracle, two-stage:K, likelihood, ...; see docs.")
@click.option("--aggregation", help="max, mean, top_k:K, percentile:P, adaptive, ...; see docs.")
@click.option("--sigma", help="Pixels of the Gaussian over the map: 4, 0.6*2+0.4*4, or 4,screw=2 by class.")
@click.option("--orientations", type=click.Choice(["one", "four", "four-placed"]),
              help="Patch scores averaged over quarter turns; four times the work.")  # fmt: skip
@click.option("--calibration", type=click.Choice(["none", "task"]),
              help="Image scores as z-scores by each task's training normals.")  # fmt: skip
@intervention_options
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@out_option
@json_option
@quiet_option
def command(
    run: tuple[str, ...],
    out: Path,
    ablate: tuple[str, ...],
    swap: tuple[str, ...],
    patch: tuple[str, ...],
    device: str,
    as_json: bool,
    quiet: bool,
    **given: Any,  # noqa: ANN401 - click's words
) -> None:
    """Evaluate RUN again; changing a router, an aggregation, a sigma or a part of the flow never trains.

    Several runs are evaluated as one: the mean of their z-scores, on the scale of the first.

    \b
    Example:
        mechlab evaluate runs/moleflow-0a1b2c3d4e5f --router oracle
    """
    from mechlab.runs.folder import find
    from mechlab.runs.interventions import asked
    from mechlab.runs.settings import evaluation_words
    from mechlab.train.ensemble import evaluate_together

    found = evaluate_together(
        [find(name, out) for name in run],
        settings=evaluation_words(given),
        interventions=asked(ablate=ablate, swap=swap, patch=patch),
        device=device,
        report=reporter(quiet),
    )
    if as_json:
        emit_json(found)
        return
    emit_metrics(found["metrics"], found["mean"])
    if "pooled" in found:
        click.echo(f"image AUROC over all classes together: {number(found['pooled']['image_auroc'])}")
    emit_interventions(found)
