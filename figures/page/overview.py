"""The first screen: which runs, how good beside the trivial statistics, and one sentence a probe."""

from collections.abc import Sequence

import numpy as np

from figures.page.content import Number, RunContent
from figures.page.markup import Markup, element, joined, table
from figures.wording import FIRM, effect, number, share
from mechlab.files import canonical_json
from mechlab.result import Result
from mechlab.stats.intervals import interval

HEADER = (
    "run",
    "tasks",
    "seed",
    "image AUROC",
    "best trivial statistic",
    "pixel AUROC",
    "AUPRO 30%",
    "routing",
    "forgetting",
    "scores identical",
)
_WORDS = {True: "yes", False: "no", None: "n/a"}


def verdicts(results: Sequence[Result]) -> Markup:
    """Return one sentence a probe: verdict, hypothesis, effect beside its null."""
    items = []
    for at, result in enumerate(results):
        line = [
            element("b", f"{result.verdict.capitalize()}: ", attributes={"class": result.verdict}),
            element("a", result.hypothesis, attributes={"href": f"#probe-{at}"}),
            element("br"),
            element("span", effect(result) + needs(result), attributes={"class": "soft"}),
        ]
        items.append(element("li", line, attributes={"class": result.verdict}))
    return element("ul", items, attributes={"class": "verdicts"})


def needs(result: Result) -> str:
    """Return the n that would decide, for an undecided result."""
    if result.verdict != "undecided":
        return ""
    if result.n_to_decide is None:
        return "; undecided, and no number of replicates is known that would decide"
    return f"; undecided, n = {result.n_to_decide} would decide if the effect is as seen"


def runs_table(runs: Sequence[RunContent]) -> Markup:
    """Return the runs, and below runs that differ in their seed alone their mean with its 95 % interval.

    The interval is Student's over seeds, cut at 1; without one all seeds agree.
    """
    rows: list[list[str]] = []
    for group in arms(runs):
        rows += [_row(run) for run in group]
        if len(group) > 1:
            rows.append(_group_row(group))
    caption = "Runs: means over classes; a trivial statistic of the raw image stands beside each image AUROC"
    return table(HEADER, rows, caption=caption)


def arms(runs: Sequence[RunContent]) -> list[list[RunContent]]:
    """Return the runs in groups whose specs differ in the seed alone, in the order given."""
    groups: dict[str, list[RunContent]] = {}
    for at, run in enumerate(runs):
        rest = {key: value for key, value in run.spec.items() if key != "seed"}
        groups.setdefault(canonical_json(rest) if run.spec else f"run {at}", []).append(run)
    return list(groups.values())


def mean_of(run: RunContent, metric: str) -> Number:
    """Return the mean of a metric over the classes of a run in which it is defined."""
    if metric in run.mean:
        return run.mean[metric]
    return _average([run.metrics[name].get(metric) for name in run.classes])


def mean_trivial(run: RunContent) -> float | None:
    """Return the mean over classes of the best trivial image AUROC."""
    return _average([None if (best := run.best_trivial(name)) is None else best[1] for name in run.classes])


def _row(run: RunContent) -> list[str]:
    tasks = ", ".join(" + ".join(names) for names in run.tasks)
    numbers = [mean_of(run, "image_auroc"), mean_trivial(run), mean_of(run, "pixel_auroc")]
    numbers += [mean_of(run, "aupro"), mean_of(run, "routing_accuracy"), run.forgetting]
    seed = str(run.spec.get("seed", "n/a"))
    return [run.name, tasks, seed, *map(share, numbers), _WORDS[run.scores_identical]]


def _group_row(group: Sequence[RunContent]) -> list[str]:
    columns: list[list[Number]] = [
        [mean_of(run, "image_auroc") for run in group],
        [mean_trivial(run) for run in group],
        [mean_of(run, "pixel_auroc") for run in group],
        [mean_of(run, "aupro") for run in group],
        [mean_of(run, "routing_accuracy") for run in group],
        [run.forgetting for run in group],
    ]
    identical = {run.scores_identical for run in group}
    told = _WORDS[identical.pop()] if len(identical) == 1 else "not in all"
    return [f"mean of {len(group)} seeds", "", "", *(_with_interval(values) for values in columns), told]


def _with_interval(values: Sequence[Number]) -> str:
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    if not len(known):
        return "n/a"
    if np.ptp(known) == 0:
        return share(float(known[0]))
    ends = interval(known)
    return f"{share(float(known.mean()))} [{share(ends.low)},{FIRM}{share(min(ends.high, 1.0))}]"


def _average(values: Sequence[Number]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def what_was_run(
    runs: Sequence[RunContent], results: Sequence[Result], *, more: Sequence[str] = ()
) -> Markup:
    """Return what was run (`more`: runs on no images), and which verdicts were reached, a sentence each."""
    told = [*(_arm(group) for group in arms(runs)), *more] or ["No run is part of this page."]
    counts = {verdict: sum(result.verdict == verdict for result in results) for verdict in
              ("supported", "refuted", "undecided")}  # fmt: skip
    reached = ", ".join(f"{number(count)} {verdict}" for verdict, count in counts.items() if count)
    asked = (
        f"{_counted(len(results), 'hypothesis')}: {reached}." if results else "No probe is part of this page."
    )
    return joined([*(element("p", sentence) for sentence in told), element("p", asked)])


def _arm(group: Sequence[RunContent]) -> str:
    """Return one sentence about the seeds of one arm; arms are never averaged with one another."""
    auroc = _average([mean_of(run, "image_auroc") for run in group])
    trivial = _average([mean_trivial(run) for run in group])
    classes = len({name for run in group for name in run.classes})
    seeds = "" if len(group) == 1 else f" and {len(group) - 1} more of its seeds"
    features = group[0].spec.get("features") or [{}]
    weights = str(features[0].get("weights", ""))
    null = ", on random backbone weights" if weights.startswith("random-") else ""
    return (
        f"Run {group[0].name}{seeds}{null}, {_counted(classes, 'class')}: mean image AUROC {share(auroc)}, "
        f"where the best trivial statistic of each class has {share(trivial)}."
    )


def _counted(count: int, noun: str) -> str:
    plural = {"run": "runs", "class": "classes", "hypothesis": "hypotheses"}[noun]
    return f"{count} {noun if count == 1 else plural}"
