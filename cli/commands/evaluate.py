"""`mechlab evaluate`: score a finished run with another router, aggregation or sigma, or a changed flow."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cli.console import (
    emit_diagnostics,
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

OF_WINDOWS = ("split", "recall", "block", "false_positives")  # words of `window_options`


def window_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add how windows of CAN messages are judged."""
    for option in (
        click.option("--false-positives", type=float, help="Of thresholds; usual: that of the training."),
        click.option("--block", type=float, help="Seconds of a block, the unit of intervals; usual: 5."),
        click.option("--recall", type=float, help="At which fpr_at_recall counts; usual: 0.95."),
        click.option("--split", type=click.Choice(["train", "validation", "test"]),
                     help="Which windows of a run on CAN logs; usual: test."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command(name="evaluate")
@click.argument("run", nargs=-1, required=True)
@click.option("--router", help="mahalanobis, euclidean, oracle, two-stage:K, likelihood, ...; see docs.")
@click.option("--aggregation", help="max, mean, top_k:K, percentile:P, adaptive, ...; see docs.")
@click.option("--sigma", help="Pixels of the Gaussian over the map: 4, 0.6*2+0.4*4, or 4,screw=2 by class.")
@click.option("--orientations", type=click.Choice(["one", "four", "four-placed"]),
              help="Patch scores averaged over quarter turns; four times the work.")  # fmt: skip
@click.option("--calibration", type=click.Choice(["none", "task"]),
              help="Image scores as z-scores by each task's training normals.")  # fmt: skip
@click.option("--image-from", type=click.Choice(["patches", "map"]),
              help="What an image score is aggregated from: patch scores, or the smoothed map.")  # fmt: skip
@click.option("--data", help="Score another data set than the run's own; see 'mechlab list datasets'.")
@click.option("--root", type=click.Path(path_type=Path), help="Folder of that data set's images.")
@click.option("--tasks", "classes", help="Its classes, separated by commas; default: all.")
@window_options
@click.option("--diagnostics", is_flag=True, help="Add log-det spread and its ratio of defective to normal.")
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
    data: str | None,
    root: Path | None,
    classes: str | None,
    diagnostics: bool,
    device: str,
    as_json: bool,
    quiet: bool,
    **given: Any,  # noqa: ANN401 - click's words
) -> None:
    """Evaluate RUN again; changing a router, an aggregation, a sigma or a part of the flow never trains.

    Several runs are evaluated as one: the mean of their z-scores, on the scale of the first. With --data, a
    run scores the images of another data set. A run on CAN logs is judged on another --split, at another
    --recall, over other --block lengths, or at other --false-positives.

    \b
    Example:
        mechlab evaluate runs/moleflow-0a1b2c3d4e5f --router oracle
        mechlab evaluate runs/gat-0a1b2c3d4e5f --split validation --recall 0.9 --block 10
    """
    from mechlab.runs.folder import find
    from mechlab.runs.interventions import asked
    from mechlab.runs.settings import evaluation_words
    from mechlab.train.asked_evaluation import evaluate_as_asked
    from mechlab.train.elsewhere import Elsewhere

    judging = {name: value for name in OF_WINDOWS if (value := given.pop(name)) is not None}
    found = evaluate_as_asked(
        [find(name, out) for name in run],
        settings=evaluation_words(given),
        interventions=asked(ablate=ablate, swap=swap, patch=patch),
        elsewhere=Elsewhere.of(data=data, root=root, classes=classes),
        diagnostics=diagnostics,
        judging=judging,
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
    emit_diagnostics(found.get("diagnostics", {}))
