"""How a sweep is printed: a line an arm, with its difference to the arm that it changes."""

from collections.abc import Mapping
from typing import Any

import click

from cli.console import emit_table, number

METRICS = ("image_auroc", "pixel_auroc", "pixel_ap")


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
    head = ("arm", "n", *[name.replace("_", " ") for name in METRICS], "difference", "forgetting",
            "trained numbers", "seconds")  # fmt: skip
    emit_table(head, [_cells(arm) for arm in found["arms"]])
    for same in found["no_ops"]:
        click.echo(
            f"no-op: '{same['arm']}' trained bit for bit as '{same['against']}': "
            f"{', '.join(same['differs'])} did nothing"
        )


def _cells(arm: Mapping[str, Any]) -> list[object]:
    counts = (arm["trainable_first_task"], arm["trainable_last_task"])
    difference = estimated(arm["image_auroc_difference"]) if arm["against"] else ""
    trained = " / ".join(number(count) for count in counts)
    metrics = [estimated(arm[name]) for name in METRICS]
    forgetting = estimated(arm["forgetting"])
    return [arm["arm"], len(arm["seeds"]), *metrics, difference, forgetting, trained, arm["seconds"]]


def emit_report(found: Mapping[str, Any], *, metric: str) -> None:
    """Print the parts of a study's report that hold something."""
    what = metric.replace("_", " ")
    if not found["top"]:
        click.echo("nothing is finished yet; run the sweep first")
        return
    click.echo(f"best by mean {what}; the best of many by a test metric is optimistic")
    emit_table(("arm", *METRICS), [[row["arm"], *[row[name] for name in METRICS]] for row in found["top"]])
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
    click.echo(
        "\nnot beaten in both image AUROC and pixel AP: " + ", ".join(row["arm"] for row in found["front"])
    )
