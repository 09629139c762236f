"""`mechlab inspect`: what a recording holds and what it cost, or its commits as they come; loads no torch."""

from pathlib import Path

import click

from cli.console import emit_json, json_option


@click.command(name="inspect")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--follow", is_flag=True, help="Print one line a commit until the writer ends or Ctrl-C.")
@json_option
def command(file: Path, follow: bool, as_json: bool) -> None:
    """Show what is in FILE, a recording (folder or recording.h5): shapes, units, sizes, what it cost.

    \b
    Example:
        mechlab inspect runs/moleflow-0a1b2c3d4e5f/recordings/1a2b3c4d5e6f
    """
    from mechlab.recording import following
    from mechlab.recording.tree import lines, tree

    if follow:
        if as_json:
            raise click.UsageError("--follow prints lines as they come and --json one document; give one.")
        for event in following.follow(file):
            click.echo(following.told(event))
        return
    found = tree(file)
    if as_json:
        emit_json(found)
        return
    for line in lines(found):
        click.echo(line)
