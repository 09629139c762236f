"""What a command prints: one JSON document or a table to stdout, progress to stderr."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

_OF_IMAGES = ("image_auroc", "trivial_image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro",
              "routing_accuracy")  # fmt: skip
_OF_WINDOWS = ("windows", "attack_windows", "f1_macro", "f1", "baseline_f1", "precision", "recall", "auroc",
               "baseline_auroc", "ap", "fpr_at_recall")  # fmt: skip
_DIAGNOSED = ("log_det_std", "log_prior_variance", "length_log_det_correlation")
json_option = click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON document.")
quiet_option = click.option("--quiet", is_flag=True, help="Print no progress.")
out_option = click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder of the runs.",
)
cache_option = click.option(
    "--cache", type=click.Path(path_type=Path), default=Path("cache"), show_default=True,
    help="Folder of the features that runs share.",
)  # fmt: skip


def intervention_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that change a flow for the time of an evaluation."""
    for option in (
        click.option("--patch", multiple=True, metavar="SITE=RECORDING[:KEY]",
                     help="Replace what a site says by what was recorded of the same images."),
        click.option("--swap", multiple=True, metavar="A,B", help="Exchange the parts of two tasks."),
        click.option("--ablate", multiple=True, metavar="SITE=VALUE",
                     help="Replace what a site says by zero, mean or resample[:SEED]."),
    ):  # fmt: skip
        command = option(command)
    return command


def emit_interventions(found: Mapping[str, Any]) -> None:
    """Print what was changed in a flow, what that did, and how its scores may be compared."""
    for done in found.get("interventions", ()):
        if isinstance(done, str):
            click.echo(f"changed by {done}")
            continue
        acted = f"acted {done['calls']} times" + ("" if done["changed"] else " and changed no bit")
        same = (
            f"; unchanged at {', '.join(done['unchanged'])}" if done["changed"] and done["unchanged"] else ""
        )
        click.echo(f"changed by {done['intervention']}: {acted}{same}")
    if "comparable" in found:
        click.echo(f"{found['comparable']}.")


def emit_diagnostics(found: Mapping[str, Any]) -> None:
    """Print what the flow's volume term does on normal and on defective images of each class."""
    rows = [
        [name, group, *(None if values is None else values.get(key) for key in _DIAGNOSED)]
        for name, groups in found.items()
        for group, values in groups.items()
    ]
    if rows:
        emit_table(("class", "images", "log-det sd", "log-prior variance", "corr(|z|, log-det)"), rows)


def reporter(quiet: bool) -> Callable[[str], None]:
    """Return what prints one line of progress to stderr."""

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    return say


def emit_json(value: object) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False))


def number(value: object) -> str:
    """Return a value as a cell: three decimals, three digits where those would be zeros, n/a for nothing."""
    if value is None:
        return "n/a"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if 0 < abs(value) < 0.0005:  # such as a learning rate, which is not 0.000
            return f"{value:.3g}"
        return f"{value:.3f}" if abs(value) < 1000 else f"{value:.4g}"
    return str(value)


def emit_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table whose columns are as wide as their cells."""
    cells = [list(head), *[[number(value) for value in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def emit_metrics(metrics: Mapping[str, Mapping[str, Any]], mean: Mapping[str, Any]) -> None:
    """Print the metrics of images or of windows; what a trivial statistic reaches stands beside."""
    is_of_windows = bool(metrics) and all("blocks" in values for values in metrics.values())
    columns = _OF_WINDOWS if is_of_windows else _OF_IMAGES
    rows = [[name, *[values.get(column) for column in columns]] for name, values in metrics.items()]
    emit_table(("class", *[column.replace("_", " ") for column in columns]),
               [*rows, ["mean", *[mean.get(column) for column in columns]]])  # fmt: skip
