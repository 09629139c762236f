"""`mechlab doctor`: versions, devices, paths, and checks that this machine can do the work."""

import click

from cli.console import emit_json, emit_table, json_option


@click.command(name="doctor")
@click.option("--determinism", is_flag=True, help="Train a small flow twice and compare every bit.")
@json_option
def command(determinism: bool, as_json: bool) -> None:
    """Check versions, devices and paths; exit status 1 if a check fails.

    \b
    Example:
        mechlab doctor
    """
    from mechlab.checkup import checkup

    rows = checkup(determinism=determinism)
    if as_json:
        emit_json(rows)
    else:
        emit_table(("check", "found", "fine"), [[row["check"], row["found"], row["fine"]] for row in rows])
    if not all(row["fine"] for row in rows):
        raise SystemExit(1)
