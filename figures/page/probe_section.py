"""One probe on the page: hypothesis, rule, verdict, effect beside its null, figure, tables."""

from typing import Any

from figures.page.markup import Markup, element, folded, picture, table
from figures.page.overview import needs
from figures.render import known, rendered, source_hash
from figures.wording import effect, label, number, replicates, span, verdict
from mechlab.result import Result, Table


def probe_section(result: Result, *, at: int) -> Markup:
    """Return the section of the result at place `at`."""
    parts: list[object] = [
        element("h2", f"Probe {result.probe.replace('_', ' ')}"),
        element("p", [
            element("b", result.verdict.capitalize(), attributes={"class": result.verdict}),
            f" – {effect(result)}{needs(result)}.",
        ]),
    ]  # fmt: skip
    if result.post_hoc:
        changed = "; ".join(result.post_hoc)
        parts.append(
            element("p", f"Post hoc: the rule was changed after its plan was written ({changed}).",
                    attributes={"class": "warning"})
        )  # fmt: skip
    parts += [facts(result), figure(result)]
    for name, rows in result.tables.items():
        if rows:
            parts.append(folded(f"Table: {name.replace('_', ' ')}", [data_table(rows, caption=name)]))
    return element("section", parts, attributes={"id": f"probe-{at}"})


def facts(result: Result) -> Markup:
    """Return the pre-registered rule and the numbers of a result as a list of terms."""
    null = f"{number(result.null.value)} ({result.null.kind})"
    if result.null.interval is not None:
        null = f"{number(result.null.value)} {span(result.null.interval)} ({result.null.kind})"
    interval = "" if result.interval is None else " " + span(result.interval)
    pairs = {
        "Hypothesis": result.hypothesis,
        "Decision rule": result.decision_rule,
        "Verdict": result.verdict + (f": {result.reason}" if result.reason else ""),
        "Effect": f"{number(result.effect)}{interval}",
        "Unit": result.unit,
        "Null": null,
        "Replication": f"{replicates(result)}, the unit is the {result.replication}",
        "Thresholds": ", ".join(f"{name} = {number(value)}" for name, value in result.thresholds.items()),
        "Plan hash": result.plan_hash or "",
    }
    shown = {term: told for term, told in pairs.items() if told}
    return element(
        "dl", [part for term, told in shown.items() for part in (element("dt", term), element("dd", told))]
    )


def figure(result: Result) -> Markup:
    """Return the probe's figure; a probe of others without one gets a sentence."""
    name = result.probe.replace("-", "_")
    if name not in known():
        return element("p", f"No figure is named {name}.", attributes={"class": "soft"})
    alt = f"{verdict(result)} {effect(result)}."
    summary = (known()[name].__doc__ or name).strip().splitlines()[0]
    caption = f"{summary} Data {source_hash(name, result)[:12]}."
    return picture(rendered(name, result, kind="svg"), kind="svg", alt=alt, caption=caption)


def data_table(rows: Table, *, caption: str) -> Markup:
    """Return the rows of a result's table; columns are the union of the rows' keys, in order."""
    header = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_cell(row.get(key)) for key in header] for row in rows]
    return table([name.replace("_", " ") for name in header], cells, caption=caption.replace("_", " "))


def _cell(value: Any) -> str:  # noqa: ANN401 - str, int, float, bool or None
    if value is None:
        return "n/a"
    if isinstance(value, int | float):
        return number(value, digits=4)
    text = str(value)
    return label(text, limit=16) if len(text) == 64 and set(text) <= set("0123456789abcdef") else text
