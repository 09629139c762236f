"""The table of a sweep as a section of a Markdown page, between markers, so that it can be written anew."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mechlab.sweep.local import duration
from mechlab.sweep.table import METRICS

Document = Mapping[str, Any]  # what `mechlab sweep run --json` prints
_MARKED = re.compile(
    r"<!-- sweep (?P<name>\S+) -->\n(?P<text>.*?)<!-- end of sweep (?P=name) -->\n", re.DOTALL
)


def section(document: Document, *, command: str) -> str:
    """Return the section of a sweep: what was asked, the command, one line an arm.

    A metric is its mean over seeds, with the mean paired difference to the arm it changes and Student's t
    interval of that.
    """
    metrics, states = document.get("metrics", METRICS), [row["state"] for row in document["rows"]]
    head = ("arm", "changes", *[name.replace("_", " ") for name in metrics], "forgetting",
            "trained numbers, first / last task", "median time")  # fmt: skip
    lines = [
        f"{document['question']}\n",
        f"```\n{command}\n```\n",
        f"{states.count('finished')} of {len(states)} arms and seeds are finished. A metric is the mean "
        "over classes and seeds, then its difference to the arm that it changes: the mean of pairs over "
        "seeds, with Student's t interval at 95 %. Of several changed keys, none explains it alone.\n",
        "| " + " | ".join(head) + " |",
        "|---" * len(head) + "|",
        *[_line(arm, metrics) for arm in document["arms"]],
    ]
    lines += [
        f"\n`{same['arm']}` trained bit for bit as `{same['against']}`: {', '.join(same['differs'])} did "
        "nothing."
        for same in document["no_ops"]
    ]
    return "\n".join(lines) + "\n"


def _line(arm: Mapping[str, Any], names: Sequence[str]) -> str:
    changes = f"{arm['against']}: {', '.join(arm['differs'])}" if arm["against"] else ""
    metrics = [_cell(arm[name], arm[f"{name}_difference"]) for name in names]
    counts = [arm["trainable_first_task"], arm["trainable_last_task"]]
    trained = " / ".join("n/a" if count is None else f"{count:,}" for count in counts)
    seconds = "n/a" if arm["seconds"] is None else duration(arm["seconds"])
    forgetting = "n/a" if arm["forgetting"] is None else f"{arm['forgetting']['mean']:.3f}"
    return "| " + " | ".join([arm["arm"], changes, *metrics, forgetting, trained, seconds]) + " |"


def _cell(own: Mapping[str, Any] | None, difference: Mapping[str, Any] | None) -> str:
    if own is None:
        return "n/a"
    if difference is None:
        return f"{own['mean']:.3f}"
    bounds = "" if difference["low"] is None else f" [{difference['low']:+.3f}, {difference['high']:+.3f}]"
    return f"{own['mean']:.3f}, {difference['mean']:+.3f}{bounds}"


def placed(page: str, name: str, text: str) -> str:
    """Return a page with the section `name` in its place, or at the end where it had none."""
    marked = f"<!-- sweep {name} -->\n{text}<!-- end of sweep {name} -->\n"
    for found in _MARKED.finditer(page):
        if found["name"] == name:
            return page[: found.start()] + marked + page[found.end() :]
    return f"{page.rstrip()}\n\n{marked}" if page.strip() else marked


def sections(page: str) -> dict[str, str]:
    """Return the text of each marked section of a page, by name."""
    return {found["name"]: found["text"] for found in _MARKED.finditer(page)}
