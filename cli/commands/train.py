"""`mechlab train`: train one system on a stream of tasks."""

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from cli.console import (
    cache_option,
    emit_json,
    emit_metrics,
    emit_table,
    json_option,
    out_option,
    quiet_option,
    reporter,
)
from cli.plan_options import PlanCommand, one_plan, plan_entries, plan_options
from cli.switches import switch_options, with_switches


@click.command(name="train", cls=PlanCommand)
@click.argument("system")
@click.option(
    "--preset", default="mini", show_default=True, help="List of parts; see 'mechlab list presets'."
)
@click.option(
    "--data",
    default="embedded",
    show_default=True,
    help="Data set; see 'mechlab list datasets'. Of CAN logs: any name.",
)
@click.option("--root", type=click.Path(path_type=Path), help="Folder of the images.")
@click.option(
    "--tasks",
    default="all",
    show_default=True,
    help="A comma starts the next task, + joins classes of one: bottle+cable,screw; or a subset: textures.",
)
@click.option(
    "--stream",
    metavar="BASE-INCREMENT",
    help="Classes of the first and of each further task, e.g. 3-3, 14-1; instead of a list of tasks.",
)
@click.option("--order", help="Of the classes in the stream: default, or of mvtec hard-first, easy-first, "
              "texture-first.")  # fmt: skip
@click.option("--backbone", default="embedded", show_default=True, help="Any timm backbone, or 'embedded'.")
@click.option(
    "--weights", help="Weight file, embedded, or random-<seed>; default: $MECHLAB_WEIGHTS, then the hub."
)
@click.option("--image-size", type=click.IntRange(32, 4096), help="Pixels; default: the preset's.")
@click.option("--layers", help="Feature layers, separated by commas, e.g. layer2,layer3.")
@click.option("--dim", type=click.IntRange(4, 8192), help="Channels of a patch feature.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--epochs", type=click.IntRange(1), help="Epochs a task; default: the preset's.")
@click.option("--batch-size", type=click.IntRange(1), help="Images a step; default: the preset's.")
@click.option(
    "--threads", type=click.IntRange(1), help="Threads of torch; part of what makes runs bit-identical."
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change one key of the preset.")
@switch_options
@click.option(
    "--record", type=click.Path(path_type=Path),
    help="Recording plan (YAML) followed during training; or give its sites here.",
)  # fmt: skip
@plan_options
@click.option(
    "--record-fault", type=click.Choice(["stop", "go-on"]),
    help="When the recording's disk is full: stop (default), or train on without recording.",
)  # fmt: skip
@click.option(
    "--freeze", multiple=True, metavar="PATTERN", help="Parameters that do not move, e.g. 'flow.*'."
)
@click.option("--allow", multiple=True, metavar="NAME",
              help="Let pass, and mark, what is refused; see 'mechlab list combinations'.")  # fmt: skip
@click.option("--task", "overrides", multiple=True, metavar="CLASS:KEY=VALUE",
              help="A key of one task alone: screw:dia_blocks=4, screw:image_size=448.")  # fmt: skip
@click.option("--base-from", metavar="RUN", help="Take what tasks share from RUN and never train it.")
@click.option("--name", help="A name of yours, for tables; one that contradicts the settings is refused.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option(
    "--devices", type=click.IntRange(1), default=1, show_default=True,
    help="Processes on the CPU, or CUDA devices, that share each batch.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print the run's name and what it would be; train nothing.")
@click.option("--config", type=click.Path(path_type=Path), help="YAML file of these options.")
@out_option
@cache_option
@json_option
@quiet_option
def command(
    as_json: bool,
    quiet: bool,
    dry_run: bool,
    config: Path | None,
    **words: Any,  # noqa: ANN401 - click's words
) -> None:
    """Train SYSTEM on a stream of tasks; a run that is finished is read, or evaluated as asked.

    \b
    Example:
        mechlab train moleflow --preset reduced --tasks gear --epochs 2
        mechlab train moleflow --tasks gear --site latent --quantity latent --every 10 --dtype float16
        mechlab train gat --root logs/hcrl_sa --preset student --distill auto --temperature 4 --alpha 0.7
    """
    from mechlab.runs.words import request_of
    from mechlab.train.resolution import outline
    from mechlab.train.session import train

    source = click.get_current_context().get_parameter_source
    words["record"] = one_plan(words.pop("record"), plan_entries(words), option="--record")
    given = {name for name in words if source(name) is not ParameterSource.DEFAULT}
    given |= {"record"} if words["record"] else set()
    request = request_of(with_switches(words), config=config, given=given)
    found = outline(request) if dry_run else train(request, report=reporter(quiet))
    if as_json:
        emit_json(found)
    elif dry_run:
        emit_table(
            ("run", "state", "let pass"), [[found["run"], found["state"], ", ".join(found["allowed"])]]
        )
        for warning in found["warnings"]:
            click.echo(f"warning: {warning}")
    else:
        _emit(found)


def _emit(summary: dict[str, Any]) -> None:
    emit_metrics(summary["metrics"], summary["mean"])
    identical = {None: "n/a (one task)", True: "yes", False: "no"}[summary["scores_identical"]]
    click.echo(f"earlier tasks' scores given their id bit-identical: {identical}")
    click.echo(f"forgetting: {_forgetting(summary)}")
    if "allowed" in summary:
        click.echo(f"let pass by --allow: {', '.join(summary['allowed'])}")
    click.echo(f"run: {summary['path']} ({summary['seconds']} s)")


def _forgetting(summary: dict[str, Any]) -> str:
    if summary["forgetting"] is not None:
        return str(summary["forgetting"])
    is_one = summary["scores_identical"] is None
    return f"n/a ({'one task' if is_one else 'no earlier task has an image AUROC'})"
