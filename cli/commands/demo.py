"""`mechlab demo`: the main job on the embedded data, ending in a report."""

from pathlib import Path

import click

from cli.console import cache_option, emit_json, emit_table, json_option, out_option, quiet_option, reporter


@click.command(name="demo")
@click.option("--seeds", type=click.IntRange(3), default=3, show_default=True)
@click.option(
    "--jobs", "processes", type=click.IntRange(1), default=2, show_default=True, help="Runs at a time."
)
@click.option("--studies", type=click.Path(path_type=Path), default=Path("studies"), show_default=True)
@click.option(
    "--report", "page", type=click.Path(path_type=Path), default=Path("runs/demo.html"), show_default=True
)
@click.option("--open", "is_opened", is_flag=True, help="Open the page in a browser.")
@out_option
@cache_option
@json_option
@quiet_option
def command(
    seeds: int,
    processes: int,
    studies: Path,
    page: Path,
    is_opened: bool,
    out: Path,
    cache: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train three seeds on rendered images, judge three probes, and write a report.

    Nothing is downloaded. A run on random backbone weights stands beside, as the null.

    \b
    Example:
        mechlab demo --seeds 3
    """
    from figures.page.reading import report_content
    from figures.page.report import write
    from mechlab.study import demo
    from mechlab.study.answer import Place

    place = Place(out=out, cache=cache, studies=studies, processes=processes)
    found = demo.demo(place=place, seeds=seeds, report=reporter(quiet))
    write(report_content([*found.runs, found.random_run, *found.studies], title="mechlab demo"), out=page)
    document = demo.note(found, report=page, place=place)
    if as_json:
        emit_json(document)
    else:
        emit_table(
            ("mean image AUROC of", "is"),
            [
                ("the model", found.mean_image_auroc),
                ("the best trivial statistic", found.trivial_image_auroc),
                ("the model on random weights", found.random_image_auroc),
            ],
        )
        emit_table(("probe", "verdict"), list(document["verdicts"].items()))
        click.echo(f"{document['seconds']} s. The report: {page}")
    if is_opened:
        click.launch(str(page))
