"""`mechlab diff`: what differs between two runs, checkpoints or recordings, bit by bit; loads no torch."""

from pathlib import Path

import click

from cli.console import emit_json, json_option, out_option


@click.command(name="diff")
@click.argument("first")
@click.argument("second")
@out_option
@json_option
def command(first: str, second: str, out: Path, as_json: bool) -> None:
    """Compare FIRST and SECOND: two runs, two checkpoints (a folder, or RUN@T), or two recordings.

    \b
    Example:
        mechlab diff runs/moleflow-0a1b2c3d4e5f runs/moleflow-5f4e3d2c1b0a
    """
    from cli.differences import emit_difference
    from mechlab.runs.sides import compared

    found = compared(first, second, out)
    if as_json:
        emit_json(found)
        return
    emit_difference(found)
