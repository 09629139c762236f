"""`mechlab inspect`: the tree of a recording: groups, data sets, shapes, units; loads no torch."""

from pathlib import Path

import click

from cli.console import emit_json, json_option


@click.command(name="inspect")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def command(file: Path, as_json: bool) -> None:
    """Show what is in FILE: a recording (folder or recording.h5).

    \b
    Example:
        mechlab inspect runs/moleflow-0a1b2c3d4e5f/recordings/1a2b3c4d5e6f
    """
    from mechlab.recording.tree import lines, tree

    found = tree(file)
    if as_json:
        emit_json(found)
        return
    for line in lines(found):
        click.echo(line)
