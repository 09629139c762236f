"""The table of a comparison as files: CSV, a line an arm, metric and difference; LaTeX, mean ± deviation."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mechlab.files import write_text
from mechlab.runs.arm_table import LESS_IS_BETTER, ORDINARY

Found = Mapping[str, Any]
_ESCAPED = {"_": r"\_", "&": r"\&", "%": r"\%", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}",
            "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}  # fmt: skip
COLUMNS = ("arm", "seeds", "differs", "let_pass", "metric", "mean", "std", "n", "against", "difference",
           "low", "high", "p_holm")  # fmt: skip


def write_csv(found: Found, path: Path) -> None:
    """Write one line an arm, metric and arm that it is held against; what is not known is empty.

    Metrics of one group of tests, or of one attack in it, are named so: `f1 of <group>/<attack>`.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for arm in found["arms"]:
        for metric, spread in arm["metrics"].items():
            if spread is None:
                continue
            of_arm = [
                row for row in found["differences"] if (row["arm"], row["metric"]) == (arm["arm"], metric)
            ]
            writer.writerows(_cells(arm, metric, spread, row) for row in of_arm or [{}])
    arms = {arm["arm"]: arm for arm in found["arms"]}
    for row in found["tests"]:
        writer.writerow(_cells(arms[row["arm"]], f"{row['metric']} of {row['tests']}", row, row))
    write_text(path, stream.getvalue())


def _cells(arm: Found, metric: str, spread: Found, row: Found) -> list[Any]:
    joined = [" ".join(map(str, arm[key])) for key in ("seeds", "differs", "allowed")]
    means = [spread[key] for key in ("mean", "std", "n")]
    rest = [row.get("against"), row.get("difference"), *(row.get("interval") or (None, None))]
    return [arm["arm"], *joined, metric, *means, *rest, row.get("p_holm")]


def write_latex(found: Found, path: Path) -> None:
    """Write a booktabs table in percent, the best arm of each metric in bold; marks stand below it."""
    metrics = [
        name for name in found["arms"][0]["metrics"] if any(arm["metrics"][name] for arm in found["arms"])
    ]
    lines = [r"\begin{tabular}{l" + "r" * len(metrics) + "}", r"\toprule",
             " & ".join(["arm", *[escaped(name.replace("_", " ")) for name in metrics]]) + r" \\",
             r"\midrule"]  # fmt: skip
    best = {name: _best(found["arms"], name) for name in metrics}
    for arm in found["arms"]:
        cells = [_cell(arm["metrics"][name], is_best=arm["arm"] in best[name]) for name in metrics]
        lines.append(" & ".join([escaped(arm["arm"]), *cells]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", *[f"% {note}" for note in notes(found)]]
    write_text(path, "\n".join(lines) + "\n")


def _best(arms: Sequence[Found], metric: str) -> set[str]:
    """Return the arms with the best mean; none where all are alike, or where nothing is to be won."""
    means = {arm["arm"]: arm["metrics"][metric]["mean"] for arm in arms if arm["metrics"][metric]}
    if metric == ORDINARY or len(set(means.values())) < 2:
        return set()
    best = min(means.values()) if metric in LESS_IS_BETTER else max(means.values())
    return {name for name, value in means.items() if value == best}


def _cell(spread: Found | None, *, is_best: bool) -> str:
    if spread is None:
        return "--"
    spoken = f"{100 * spread['mean']:.2f}"
    value = rf"\textbf{{{spoken}}}" if is_best else spoken
    return value if spread["std"] is None else rf"{value} $\pm$ {100 * spread['std']:.2f}"


def escaped(text: str) -> str:
    """Return text with the characters that mean something to LaTeX escaped."""
    return "".join(_ESCAPED.get(character, character) for character in text)


def notes(found: Found) -> list[str]:
    """Return a sentence for each arm that a reader must not take for more than it is."""
    told = []
    for arm in found["arms"]:
        if arm["is_confounded"]:
            told.append(
                f"'{arm['arm']}' is confounded: it differs from '{found['against']}' in "
                f"{', '.join(arm['differs'])}, and none of them alone explains a difference."
            )
        if arm["allowed"]:
            told.append(f"'{arm['arm']}' was let pass though refused otherwise: {', '.join(arm['allowed'])}.")
        if len(arm["seeds"]) < 2:
            told.append(f"'{arm['arm']}' has one seed, {arm['seeds'][0]}: no interval.")
    alone = {arm["arm"] for arm in found["arms"][1:]} - {
        row["arm"] for row in found["differences"] if row["against"] == found["against"]
    }
    return told + [f"'{name}' has no seed in common with '{found['against']}'." for name in sorted(alone)]
