"""`mechlab can`: CAN logs checked and made into graphs, and the baseline that a detector has to beat."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cli.console import cache_option, emit_json, emit_table, json_option, out_option, quiet_option, reporter
from cli.switches import switch_options, with_switches

ROOM = "reproductions.can_ids"
METRICS = ("accuracy", "precision", "recall", "f1", "auroc", "ap", "fpr_at_recall")


def folder_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what says how a folder of logs becomes graphs."""
    for option in (
        click.option("--stride", type=int, default=100, show_default=True,
                     help="Messages from one window to the next."),
        click.option("--window", type=int, default=100, show_default=True, help="Messages a graph."),
        click.option("--split", "way", default="published", show_default=True,
                     help="published: by part; time: every log of a known vehicle by its seconds."),
        exclude_option,
    ):  # fmt: skip
        function = option(function)
    return function


exclude_option = click.option(
    "--exclude", multiple=True, default=("suppress", "masquerade"), show_default=True,
    help="Leave out logs with this word in part or name; 'nothing' leaves out none.",
)  # fmt: skip


@click.group(name="can")
def command() -> None:
    """Logs of a car's CAN bus: what is in them, their graphs, and a baseline without any learning.

    \b
    Example:
        mechlab can check logs/hcrl_sa
        mechlab can prepare logs/hcrl_sa
        mechlab can baseline logs/hcrl_sa --split time --false-positives 0.1
    """


@command.command(name="check")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@exclude_option
@json_option
def check_command(paths: tuple[Path, ...], exclude: tuple[str, ...], as_json: bool) -> None:
    """Read every log of a folder, or log files, and tell all problems. Exit status 1 if there is one.

    \b
    Example:
        mechlab can check logs/hcrl_sa
        mechlab can check drive.log
    """
    from mechlab.systems import load

    found = load(f"{ROOM}.check:check")(paths, exclude=_words(exclude))
    if as_json:
        emit_json(found)
    else:
        columns = (
            "part",
            "log",
            "vehicle",
            "attack",
            "messages",
            "seconds",
            "rate",
            "ids",
            "short",
            "attacks",
        )
        emit_table(columns, [[row[column] for column in columns] for row in found["logs"]])
        for path in found["left_out"]:
            click.echo(f"left out: {path}")
        click.echo("\n".join(found["problems"]) or "no problem.")
    click.get_current_context().exit(1 if found["problems"] else 0)


@command.command(name="prepare")
@click.argument("folder", type=click.Path(path_type=Path))
@folder_options
@cache_option
@quiet_option
@json_option
def prepare_command(
    folder: Path,
    way: str,
    window: int,
    stride: int,
    exclude: tuple[str, ...],
    cache: Path,
    quiet: bool,
    as_json: bool,
) -> None:
    """Make the graphs of all windows of FOLDER and keep them in the cache, where a training finds them.

    \b
    Example:
        mechlab can prepare logs/hcrl_sa --split time
    """
    from mechlab.systems import load

    opened = load(f"{ROOM}.folder:open")(folder, exclude=_words(exclude))
    graphs, place = load(f"{ROOM}.prepare:prepared")(
        opened, cache=cache, way=way, window=window, stride=stride, say=reporter(quiet)
    )
    rows = load(f"{ROOM}.prepare:counts")(graphs)
    if as_json:
        emit_json({"graphs": str(place), "ids": graphs.vocabulary.size - 1, "splits": rows})
        return
    columns = ("split", "group", "attack", "windows", "attack_windows", "nodes", "edges")
    emit_table(columns, [[row[column] for column in columns] for row in rows])
    click.echo(f"{graphs.vocabulary.size - 1} known ids; graphs in {place}")


@command.command(name="baseline")
@click.argument("folder", type=click.Path(path_type=Path))
@folder_options
@click.option(
    "--false-positives",
    type=float,
    default=0.01,
    show_default=True,
    help="Share of validation normals above the threshold.",
)
@click.option("--recall", type=float, default=0.95, show_default=True, help="At which fpr_at_recall counts.")
@click.option(
    "--block",
    type=float,
    default=5.0,
    show_default=True,
    help="Seconds of a block: the unit of the intervals.",
)
@cache_option
@quiet_option
@json_option
def baseline_command(
    folder: Path,
    way: str,
    window: int,
    stride: int,
    exclude: tuple[str, ...],
    false_positives: float,
    recall: float,
    block: float,
    cache: Path,
    quiet: bool,
    as_json: bool,
) -> None:
    """Judge the message rate, the entropy of ids and their intervals on the tests of FOLDER.

    \b
    Example:
        mechlab can baseline logs/hcrl_sa --split time --false-positives 0.1
    """
    from mechlab.systems import load

    opened = load(f"{ROOM}.folder:open")(folder, exclude=_words(exclude))
    graphs, _ = load(f"{ROOM}.prepare:prepared")(
        opened, cache=cache, way=way, window=window, stride=stride, say=reporter(quiet)
    )
    found = load(f"{ROOM}.baseline:judge_baseline")(
        graphs, false_positive_rate=false_positives, seconds=block, recall=recall
    )
    emit_json(found) if as_json else _emit(found)


def _emit(found: dict[str, Any]) -> None:
    rows = [
        [
            group,
            attack,
            one["windows"],
            one["attack_windows"],
            *[one[name] for name in METRICS],
            _best(one),
            one["blocks"],
        ]
        for group, row in found["groups"].items()
        for attack, one in {**row["attacks"], "all": row}.items()
    ]
    emit_table(("group", "attack", "windows", "attacks", *METRICS, "best single (AUROC)", "blocks"), rows)
    click.echo(
        f"threshold from {found['validation_normals']} validation normals at "
        f"{found['false_positive_rate']:g} false positives; "
        f"intervals over blocks of {found['block_seconds']:g} s are in --json."
    )


def _best(row: dict[str, Any]) -> str:
    """Return the one number that ranks the windows of a row best, with its AUROC."""
    known = {name: value for name, value in row["single_auroc"].items() if value is not None}
    return max(
        (f"{name} {value:.3f}" for name, value in known.items()),
        key=lambda told: told.split()[1],
        default="n/a",
    )


def _words(exclude: tuple[str, ...]) -> tuple[str, ...]:
    return () if exclude == ("nothing",) else exclude


@command.command(name="memory")
@click.argument("system", type=click.Choice(["vgae", "gat"]))
@click.option("--root", type=click.Path(path_type=Path), required=True, help="Folder of the logs.")
@click.option("--preset", default="student", show_default=True)
@click.option(
    "--gigabytes", type=float, default=8.0, show_default=True, help="Memory that there is, in 1e9 bytes."
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change one key of the preset.")
@switch_options
@out_option
@cache_option
@json_option
def memory_command(gigabytes: float, as_json: bool, **words: Any) -> None:  # noqa: ANN401 - click's words
    """Count the memory of a training step of SYSTEM, what a teacher adds, and the windows that fit.

    \b
    Example:
        mechlab can memory gat --root logs/hcrl_sa --mode normal --distill auto --gigabytes 8
    """
    from mechlab.runs.words import request_of
    from mechlab.systems import load

    request = request_of(with_switches(words), config=None, given=set(words))
    found = load(f"{ROOM}.memory:forecast")(request, gigabytes=gigabytes)
    emit_json(found) if as_json else emit_table(("", "value"), list(found.items()))
