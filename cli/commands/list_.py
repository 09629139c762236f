"""`mechlab list`: what there is, by name; loads no torch, but to count parameters."""

import click

from cli.console import emit_json, emit_table, json_option

KINDS = ("systems", "presets", "parts", "datasets", "backbones", "quantities", "combinations", "probes",
         "figures", "studies")  # fmt: skip
SYSTEMS = ("presets", "parts", "combinations")  # kinds whose entries belong to a system


@click.command(name="list")
@click.argument("kind", type=click.Choice(KINDS), default="systems")
@click.option("--parameters", is_flag=True, help="Of presets: how many numbers each holds and trains.")
@click.option("--system", default="moleflow", show_default=True, help="Whose presets are counted.")
@click.option("--after", type=click.IntRange(1), default=15, show_default=True, help="Tasks to count after.")
@click.option("--against", default="main", show_default=True, help="Preset that counts as 1.")
@json_option
def command(kind: str, parameters: bool, system: str, after: int, against: str, as_json: bool) -> None:
    """List the systems, presets, parts, data sets, backbones, quantities, combinations and so on.

    Combinations are settings that are refused unless --allow names them.

    \b
    Example:
        mechlab list presets
    """
    from mechlab.inventory import entries

    if parameters:
        if kind != "presets":
            raise click.UsageError("--parameters counts presets; write mechlab list presets --parameters.")
        from cli.counts import emit_preset_counts
        from mechlab.train.parameter_count import preset_counts

        rows = preset_counts(system, tasks=after, against=against)
        emit_json(rows) if as_json else emit_preset_counts(rows)
        return
    found = entries(kind)
    if as_json:
        emit_json(found)
        return
    columns = ("system",) * (kind in SYSTEMS) + ("name", "id", "summary", "source")
    emit_table(columns, [[entry.get(column) or "" for column in columns] for entry in found])
