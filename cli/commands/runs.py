"""`mechlab runs`: list, show and remove run folders; loads no torch."""

from pathlib import Path
from typing import Any

import click

from cli.console import emit_json, emit_metrics, emit_table, json_option, number, out_option
from cli.counts import emit_counts


@click.group(name="runs", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """List, show or remove runs.

    \b
    Example:
        mechlab runs list
    """
    if context.invoked_subcommand is None:
        context.invoke(listed)


@command.command(name="list")
@out_option
@json_option
def listed(out: Path = Path("runs"), as_json: bool = False) -> None:
    """List the runs: what each is called (its preset and what differs from it), state and size."""
    from mechlab.runs.arms import label
    from mechlab.runs.folder import runs

    rows: list[dict[str, Any]] = [
        {
            "run": run.name,
            "path": str(run.path),
            "finished": run.is_finished,
            "bytes": run.bytes(),
            "seed": run.spec().seed,
            "tasks": ",".join("+".join(task) for task in run.spec().tasks),
            "preset": run.request().preset,
            "called": label(run, {}),
            "allowed": list(run.allowed),
        }
        for run in runs(out)
    ]
    if as_json:
        emit_json(rows)
        return
    emit_table(
        ("run", "called", "tasks", "seed", "finished", "MB", "let pass"),
        [
            [
                row["run"],
                row["called"],
                row["tasks"],
                row["seed"],
                row["finished"],
                round(row["bytes"] / 1e6, 1),
                ", ".join(row["allowed"]),
            ]
            for row in rows
        ],
    )


@command.command(name="show")
@click.argument("run")
@out_option
@json_option
def show(run: str, out: Path, as_json: bool) -> None:
    """Show the spec of RUN, how many numbers it trained, and its metrics."""
    from mechlab.runs.arms import label
    from mechlab.runs.folder import find
    from mechlab.runs.parameters import run_counts

    found = find(run, out)
    summary = found.summary() if found.is_finished else None
    counted = run_counts(found) if found.is_finished else None
    if as_json:
        emit_json(found.document() | {"summary": summary, "label": label(found, {}), "parameters": counted})
        return
    spec = found.spec()
    click.echo(f"{found.path}: {spec.system}, tasks {spec.tasks}, seed {spec.seed}, {spec.epochs} epochs")
    click.echo(f"called: {label(found, {})}")
    if found.allowed:
        click.echo(f"let pass by --allow: {', '.join(found.allowed)}")
    emit_table(("part", "value"), found.parts().items())
    if summary is None or counted is None:
        click.echo("not finished; give the same 'mechlab train' again to resume it")
        return
    emit_counts(counted)
    emit_metrics(summary["metrics"], summary["mean"])


@command.command(name="log")
@click.argument("run")
@out_option
@json_option
def logged(run: str, out: Path, as_json: bool) -> None:
    """Show each epoch of RUN: loss, learning rate, gradient norm, gates; and how each task came out."""
    from mechlab.runs.folder import find

    rows = find(run, out).epochs()
    if as_json:
        emit_json(rows)
        return
    epochs = [row for row in rows if row["kind"] == "epoch"]
    readings = list(dict.fromkeys(name for row in epochs for name in row["readings"]))
    names = ("task", "epoch", "loss", "learning_rate", "gradient_norm")
    emit_table(
        (*names, *readings),
        [
            [*(row[name] for name in names), *(row["readings"].get(name) for name in readings)]
            for row in epochs
        ],
    )
    for row in rows:
        if row["kind"] == "task":
            aurocs = " ".join(number(value) for value in row["image_auroc"][: row["task"] + 1])
            routed = " ".join(f"{name} {number(value)}" for name, value in row["routing_accuracy"].items())
            click.echo(f"after task {row['task']}: image AUROC of tasks {aurocs}; routed right {routed}")


@command.command(name="remove")
@click.argument("run")
@click.option("--yes", is_flag=True, help="Do not ask.")
@out_option
def removed(run: str, yes: bool, out: Path) -> None:
    """Remove RUN and everything below its folder."""
    from mechlab.runs.folder import find, remove

    found = find(run, out)
    if not yes:
        click.confirm(f"Remove {found.path} ({found.bytes() / 1e6:.1f} MB)?", abort=True, err=True)
    click.echo(f"removed {found.path}: {remove(found) / 1e6:.1f} MB freed")
