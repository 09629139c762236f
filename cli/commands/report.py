"""`mechlab report`: one self-contained page of runs, results and studies; loads no torch."""

from pathlib import Path

import click

from cli.console import emit_json, json_option


@click.command(name="report")
@click.argument("inputs", nargs=-1)
@click.option("--out", "file", type=click.Path(path_type=Path), required=True, help="File: .html.")
@click.option("--runs", "out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
@click.option("--title", default="mechlab report", show_default=True)
@click.option("--open", "is_opened", is_flag=True, help="Open the page in a browser.")
@json_option
def command(
    inputs: tuple[str, ...], file: Path, out: Path, title: str, is_opened: bool, as_json: bool
) -> None:
    """Write one HTML page about INPUTS: runs, studies, result.json files.

    \b
    Example:
        mechlab report runs/moleflow-0a1b2c3d4e5f --out report.html
    """
    from figures.page.reading import report_content
    from figures.page.report import write
    from mechlab.study.answer import named, refuse_no_ops

    paths = [named(text, out) for text in inputs]
    refuse_no_ops([path for path in paths if (path / "run.json").exists()])
    write(report_content(paths, title=title), out=file)
    emit_json({"report": str(file)}) if as_json else click.echo(str(file))
    if is_opened:
        click.launch(str(file))
