"""`mechlab diff`: what differs between two runs, down to the bits; loads no torch."""

from pathlib import Path

import click

from cli.console import emit_json, emit_table, json_option, out_option


@click.command(name="diff")
@click.argument("first")
@click.argument("second")
@out_option
@json_option
def command(first: str, second: str, out: Path, as_json: bool) -> None:
    """Compare runs FIRST and SECOND: spec, declared and observed parameters, trajectory, metrics.

    \b
    Example:
        mechlab diff runs/moleflow-0a1b2c3d4e5f runs/moleflow-5f4e3d2c1b0a
    """
    from mechlab.runs.comparison import difference
    from mechlab.runs.folder import find

    found = difference(find(first, out), find(second, out))
    if as_json:
        emit_json(found)
        return
    emit_table(
        ("spec key", "first", "second"),
        [[row["key"], str(row["first"]), str(row["second"])] for row in found["spec"]],
    )
    for name in ("declared", "observed"):
        click.echo(
            f"{name}: {len(found[name])} parameters differ"
            + "".join(f"\n  {row}" for row in found[name][:10])
        )
    click.echo(f"trajectory equal: {'yes' if found['trajectory_equal'] else 'no'}")
    if found["no_op"]:
        click.echo(f"NO-OP: {found['no_op']}")
    emit_table(
        ("metric", "first", "second", "difference"),
        [[row["metric"], row["first"], row["second"], row["difference"]] for row in found["metrics"]],
    )
