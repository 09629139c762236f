"""`mechlab list`: what there is, by name; loads no torch."""

import click

from cli.console import emit_json, emit_table, json_option

KINDS = ("systems", "presets", "parts", "datasets", "backbones", "quantities", "combinations", "probes",
         "figures", "studies")  # fmt: skip

SYSTEMS = ("presets", "parts", "combinations")  # kinds whose entries belong to a system


@click.command(name="list")
@click.argument("kind", type=click.Choice(KINDS), default="systems")
@json_option
def command(kind: str, as_json: bool) -> None:
    """List the systems, presets, parts, data sets, backbones, quantities, combinations and so on.

    Combinations are settings that are refused unless --allow names them.

    \b
    Example:
        mechlab list presets
    """
    from mechlab.inventory import entries

    found = entries(kind)
    if as_json:
        emit_json(found)
        return
    columns = ("system", "name", "id", "summary") if kind in SYSTEMS else ("name", "id", "summary")
    emit_table(columns, [[entry.get(column) or "" for column in columns] for entry in found])
