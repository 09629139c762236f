"""`mechlab probe`: ask one question of runs or recordings, and judge the answer."""

from pathlib import Path

import click

from cli.console import (
    cache_option,
    emit_json,
    emit_table,
    json_option,
    number,
    out_option,
    quiet_option,
    reporter,
)


@click.command(name="probe")
@click.argument("name")
@click.argument("inputs", nargs=-1)
@click.option("--train", is_flag=True, help="Train and record what the probe's own plan needs.")
@click.option("--dry-run", is_flag=True, help="Print the plan: runs, recordings, decision rule; run nothing.")
@click.option("--seeds", type=click.IntRange(1), help="Seeds a arm, with --train; default: the plan's.")
@click.option(
    "--site", "sites", multiple=True, metavar="ROLE=PATTERN", help="Read a role from this quantity."
)
@click.option(
    "--jobs", "processes", type=click.IntRange(1), default=2, show_default=True, help="Runs at a time."
)
@click.option("--root", type=click.Path(path_type=Path), help="Folder of your data, for --train.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--studies", type=click.Path(path_type=Path), default=Path("studies"), show_default=True)
@out_option
@cache_option
@json_option
@quiet_option
def command(
    name: str,
    inputs: tuple[str, ...],
    train: bool,
    dry_run: bool,
    seeds: int | None,
    sites: tuple[str, ...],
    processes: int,
    root: Path | None,
    device: str,
    studies: Path,
    out: Path,
    cache: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Answer the question of probe NAME from runs or recordings, or with --train from its own plan.

    \b
    Example:
        mechlab probe gaussianity --dry-run
        mechlab probe distillation-signal --train --root logs/hcrl_sa
    """
    from mechlab.study import answer

    place = answer.Place(out=out, cache=cache, studies=studies, root=root, processes=processes, device=device)
    if dry_run:
        emit_json(answer.preview(name, seeds=seeds, place=place))
        return
    result = answer.asked(
        name, inputs, train=train, seeds=seeds, sites=sites, place=place, report=reporter(quiet)
    )
    if as_json:
        emit_json(result.document())
        return
    click.echo(f"{result.hypothesis}\nrule: {result.decision_rule}")
    interval = (
        "" if result.interval is None else f" [{number(result.interval[0])}, {number(result.interval[1])}]"
    )
    click.echo(
        f"{result.verdict.upper()}: effect {number(result.effect)}{interval} {result.unit}, "
        f"null {number(result.null.value)} ({result.null.kind}), n = {result.n} ({result.replication})"
    )
    if result.reason:
        click.echo(result.reason)
    for table, rows in result.tables.items():
        if rows and len(rows) <= 40:
            click.echo(f"\n{table.replace('_', ' ')}")
            emit_table(tuple(rows[0]), [tuple(row.values()) for row in rows])
