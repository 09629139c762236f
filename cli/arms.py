"""What `mechlab compare` prints: arms, their metrics, differences to the first arm, and what to beware of."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from cli.console import emit_table, number
from mechlab.runs.arm_files import notes


def emit_arms(found: Mapping[str, Any]) -> None:
    """Print the comparison of runs."""
    arms = found["arms"]
    emit_table(
        ("arm", "seeds", "differs in", "let pass", "runs"),
        [[arm["arm"], ", ".join(map(str, arm["seeds"])), ", ".join(arm["differs"]) or "-",
          ", ".join(arm["allowed"]) or "-", " ".join(arm["runs"])] for arm in arms],
    )  # fmt: skip
    click.echo()
    columns = [name.replace("_", " ") for name in arms[0]["metrics"]]
    rows = [[arm["arm"], *map(_spread, arm["metrics"].values())] for arm in arms]
    emit_table(("arm", *columns), rows)
    if found["differences"]:
        _emit_differences(found)
    if found["tests"]:
        _emit_tests(found["tests"])
    for note in notes(found):
        click.echo(f"note: {note}")


def _emit_differences(found: Mapping[str, Any]) -> None:
    click.echo()
    is_one = {row["against"] for row in found["differences"]} == {found["against"]}
    of = f"to '{found['against']}'" if is_one else "of all pairs"
    click.echo(f"differences {of}, paired by seed; intervals at 95 %")
    rows = [[row["arm"], *([] if is_one else [row["against"]]), row["metric"].replace("_", " "),
             f"{row['difference']:+.4f}", _bounds(row), number(row["p_holm"]), row["n"]]
            for row in found["differences"]]  # fmt: skip
    against = () if is_one else ("against",)
    emit_table(("arm", *against, "metric", "difference", "interval", "p (Holm)", "seeds"), rows)


def _emit_tests(rows: Sequence[Mapping[str, Any]]) -> None:
    click.echo("\nby group of tests and attack; differences are paired by seed, intervals at 95 %")
    lines = [[row["tests"], row["metric"].replace("_", " "), row["arm"], _spread(row), row["against"] or "-",
              "n/a" if row["difference"] is None else f"{row['difference']:+.4f}", _bounds(row),
              number(row["p_holm"]), row["pairs"]] for row in rows]  # fmt: skip
    emit_table(
        ("tests", "metric", "arm", "mean", "against", "difference", "interval", "p (Holm)", "seeds"), lines
    )


def _spread(spread: Mapping[str, Any] | None) -> str:
    if spread is None:
        return "n/a"
    return number(spread["mean"]) + ("" if spread["std"] is None else f" ± {spread['std']:.3f}")


def _bounds(row: Mapping[str, Any]) -> str:
    return "n/a" if row["interval"] is None else f"[{row['interval'][0]:+.4f}, {row['interval'][1]:+.4f}]"
