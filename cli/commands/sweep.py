"""`mechlab sweep`: run the arms of a sweep file over seeds, and tell where they stand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cli.console import cache_option, emit_json, json_option, out_option, quiet_option, reporter
from cli.sweeps import emit_plan, emit_report, emit_standing


def sweep_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what says which sweep is meant and where its files are."""
    for option in (
        json_option,
        cache_option,
        out_option,
        click.option("--studies", type=click.Path(path_type=Path), default=Path("studies"), show_default=True,
                     help="Folder of the ledgers."),
        click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda."),
        click.option("--weights", help="Weight file, embedded, or random-<seed>, as of 'mechlab train'."),
        click.option("--root", type=click.Path(path_type=Path), help="Folder of the images, or of the logs."),
        click.option("--size", default="reduced", show_default=True, help="Size of the study, e.g. full."),
        click.argument("file"),
    ):  # fmt: skip
        command = option(command)
    return command


@click.group(name="sweep")
def command() -> None:
    """Train the arms of a sweep FILE over seeds, resumably; FILE is a path or the name of a shipped study.

    \b
    Example:
        mechlab sweep run components --size reduced
    """


@command.command(name="run")
@sweep_options
@click.option(
    "--jobs", "processes", type=click.IntRange(1), default=2, show_default=True, help="Runs at a time."
)
@click.option("--executor", type=click.Choice(["local"]), default="local", show_default=True)
@quiet_option
def run_command(file: str, processes: int, executor: str, quiet: bool, as_json: bool, **words: Any) -> None:  # noqa: ANN401 - click's words
    """Train and evaluate what is missing of FILE; given again, it goes on where it stopped."""
    from mechlab.sweep.run import run

    sweep, place = _asked(file, words, processes=processes)
    found = run(sweep, place=place, report=reporter(quiet))
    emit_json(found) if as_json else emit_standing(found)


@command.command(name="status")
@sweep_options
def status(file: str, as_json: bool, **words: Any) -> None:  # noqa: ANN401 - click's words
    """Tell the state of every arm and seed of FILE, and what is measured so far; runs nothing."""
    from mechlab.sweep.run import standing

    sweep, place = _asked(file, words)
    found = standing(sweep, place=place)
    emit_json(found) if as_json else emit_standing(found)


@command.command(name="plan")
@sweep_options
def plan(file: str, as_json: bool, **words: Any) -> None:  # noqa: ANN401 - click's words
    """Tell the arms of FILE, in which keys each differs from which, and the number of runs; runs nothing."""
    from mechlab.sweep.run import planned

    sweep, place = _asked(file, words)
    found = planned(sweep, place=place)
    emit_json(found) if as_json else emit_plan(found)


@command.command(name="report")
@sweep_options
@click.option("--metric", help="Of the table; default: its first one, e.g. image_auroc or f1_macro.")
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="Arms in the ranking.")
def reported(file: str, metric: str | None, top: int, as_json: bool, **words: Any) -> None:  # noqa: ANN401 - click's words
    """Tell what FILE found: best arms, effects of single keys, whether gains add up, classes, the front."""
    from mechlab.sweep.run import standing
    from mechlab.sweep.study import report

    sweep, place = _asked(file, words)
    found = report(standing(sweep, place=place), metric=metric, top=top)
    emit_json(found) if as_json else emit_report(found)


def _asked(file: str, words: dict[str, Any], **more: Any) -> tuple[Any, Any]:  # noqa: ANN401 - lazily imported
    from mechlab.sweep.arms import Place
    from mechlab.sweep.file import found, read, sweep_of

    size = words.pop("size")
    return sweep_of(read(found(file)), size=size), Place(**words, **more)
