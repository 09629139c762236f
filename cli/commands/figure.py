"""`mechlab figure`: draw one figure from results, runs or recordings; loads no torch for what exists."""

from pathlib import Path

import click

from cli.console import emit_json, json_option, quiet_option, reporter


@click.command(name="figure")
@click.argument("name")
@click.argument("inputs", nargs=-1)
@click.option(
    "--out", "file", type=click.Path(path_type=Path), required=True, help="File: .svg, .pdf or .png."
)
@click.option("--runs", "out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
@click.option("--studies", type=click.Path(path_type=Path), default=Path("studies"), show_default=True)
@json_option
@quiet_option
def command(
    name: str, inputs: tuple[str, ...], file: Path, out: Path, studies: Path, as_json: bool, quiet: bool
) -> None:
    """Draw figure NAME of a result.json, a run or a recording into a file.

    \b
    Example:
        mechlab figure shortcut studies/shortcut-0a1b2c3d4e5f/result.json --out shortcut.svg
    """
    from cli.content import drawable
    from figures.render import render

    found = render(name, drawable(name, inputs, out=out, studies=studies, report=reporter(quiet)), out=file)
    emit_json({"figure": str(file), "source_hash": found}) if as_json else click.echo(str(file))
