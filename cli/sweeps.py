"""How a sweep is printed: a line an arm, with its difference to the arm that it changes."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from cli.console import emit_table, number

_USUAL = ("image_auroc", "pixel_auroc", "pixel_ap")  # of a table from before it named its metrics


def estimated(value: Mapping[str, Any] | None) -> str:
    """Return a mean with its interval."""
    if value is None:
        return "n/a"
    if value["low"] is None:
        return number(value["mean"])
    return f"{number(value['mean'])} [{number(value['low'])}, {number(value['high'])}]"


def emit_plan(found: Mapping[str, Any]) -> None:
    """Print the arms of a sweep and what tells them apart."""
    click.echo(
        f"{found['question']}\n{found['runs']} runs, {found['seeds']} seeds; ledger: {found['folder']}"
    )
    rows = [[arm["arm"], arm["against"] or "", ", ".join(arm["differs"])] for arm in found["arms"]]
    emit_table(("arm", "against", "differs in"), rows)


def emit_standing(found: Mapping[str, Any]) -> None:
    """Print how many runs are in which state, those that run or failed, and the table of the arms."""
    rows = found["rows"]
    counts = {state: sum(row["state"] == state for row in rows) for state in dict.fromkeys(
        row["state"] for row in rows)}  # fmt: skip
    click.echo(f"{found['question']}\n" + ", ".join(f"{count} {state}" for state, count in counts.items()))
    for row in rows:
        if row.get("last"):
            click.echo(f"  {row['arm']}, seed {row['seed']}: {row['state']}: {row['last']}")
    metrics = found.get("metrics", _USUAL)
    head = ("arm", "n", *[name.replace("_", " ") for name in metrics], "difference", "forgetting",
            "trained numbers", "seconds")  # fmt: skip
    emit_table(head, [_cells(arm, metrics) for arm in found["arms"]])
    for same in found["no_ops"]:
        click.echo(
            f"no-op: '{same['arm']}' trained bit for bit as '{same['against']}': "
            f"{', '.join(same['differs'])} did nothing"
        )


def _cells(arm: Mapping[str, Any], names: Sequence[str]) -> list[object]:
    counts = (arm["trainable_first_task"], arm["trainable_last_task"])
    difference = estimated(arm[f"{names[0]}_difference"]) if arm["against"] else ""
    trained = " / ".join(number(count) for count in counts)
    metrics = [estimated(arm[name]) for name in names]
    forgetting = estimated(arm["forgetting"])
    return [arm["arm"], len(arm["seeds"]), *metrics, difference, forgetting, trained, arm["seconds"]]


def emit_report(found: Mapping[str, Any]) -> None:
    """Print the parts of a study's report that hold something."""
    metric, metrics = found["metric"], found["metrics"]
    what = metric.replace("_", " ")
    if not found["top"]:
        click.echo("nothing is finished yet; run the sweep first")
        return
    click.echo(f"best by mean {what}; the best of many by a test metric is optimistic")
    emit_table(("arm", *metrics), [[row["arm"], *[row[name] for name in metrics]] for row in found["top"]])
    for title, part in (("one key alone", "one_factor"), ("worse for sure", "avoid")):
        if found[part]:
            click.echo(f"\n{title}: difference of {what}, paired over seeds")
            emit_table(("arm", "against", "difference"),
                       [[row["arm"], row["against"], estimated(row)] for row in found[part]])  # fmt: skip
    if found["gains"]:
        click.echo(f"\ndo gains add up? {what}")
        emit_table(("arm", "keys", "joint", "sum of singles", "interaction"),
                   [[row["arm"], ", ".join(row["keys"]), row["joint"], row["sum_of_singles"],
                     row["interaction"]] for row in found["gains"]])  # fmt: skip
    if found["classes"]:
        click.echo(f"\nchange of {what} by class")
        names = sorted({name for row in found["classes"] for name in row["changes"]})
        cells = [[row["arm"], *[row["changes"].get(name) for name in names]] for row in found["classes"]]
        emit_table(("arm", *names), cells)
    both = " and ".join(name.replace("_", " ") for name in (metrics[0], metrics[-1]))
    click.echo(f"\nnot beaten in both {both}: " + ", ".join(row["arm"] for row in found["front"]))
