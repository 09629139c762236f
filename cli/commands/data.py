"""`mechlab data`: what is in a folder of images."""

from pathlib import Path

import click

from cli.console import emit_json, emit_table, json_option, quiet_option, reporter


@click.group(name="data")
def command() -> None:
    """Folders of images.

    \b
    Example:
        mechlab data check my-data --data mvtec
    """


@command.command(name="check")
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--data", default="folder", show_default=True, help="Data set; see 'mechlab list datasets'.")
@json_option
@quiet_option
def check_command(root: Path, data: str, as_json: bool, quiet: bool) -> None:
    """Compare the images below ROOT with the published counts and list every problem; 1 if there is one.

    \b
    Example:
        mechlab data check my-data --data visa
    """
    from mechlab.systems import load

    found = load("reproductions.datasets.check:check")(root, data, report=reporter(quiet))
    if as_json:
        emit_json(found)
    else:
        rows = [
            [name, *(row["counts"] or ("n/a",) * 3), row["problems"]]
            for name, row in found["classes"].items()
        ]
        emit_table(("class", "train", "test normal", "test defective", "problems"), rows)
        for problem in found["problems"]:
            click.echo(problem)
        if found["absent"]:
            click.echo(f"not there: {', '.join(found['absent'])}")
    click.get_current_context().exit(1 if found["problems"] else 0)
