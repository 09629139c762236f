"""Can a trivial statistic of the raw image solve the benchmark?

Image AUROC, in either direction, of the mean grey level, its standard deviation and the distance to the mean
training image, class by class; the largest is judged, with an interval for a largest value. Null: labels
permuted within classes, the largest taken again. Beside it each model's image AUROC with the statistic
partialled out by a rank regression. Unit: the image. Source: measured on screw, whose mean grey level alone
reaches 1.000; interval: Newcombe 2006, method 5 (it does not shrink to nothing at an AUROC of 1).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata

from mechlab.errors import MechlabError
from mechlab.metrics.ranking import auroc
from mechlab.recording import Recording
from mechlab.result import Evidence, Null, Result, Table, Verdict
from mechlab.specs import PlanEntry
from mechlab.stats.auroc_interval import auroc_interval, auroc_values
from mechlab.stats.permutation import holm
from mechlab.study.decision import needed, side
from mechlab.study.plan import Arm, Recorded, Study
from mechlab.study.replicates import Pick, chosen_sites, image_rows

HYPOTHESIS = "In at least one class a trivial statistic of the raw image tells defective from normal images."
ID = "P37"
SOURCE = "data notes, warning about screw"
SITES = {"mean": "image/mean", "std": "image/std", "distance": "image/distance", "score": "score/image"}
STATISTICS = ("mean", "std", "distance")
THRESHOLDS = {"trivial_auroc": 0.75, "least_images": 10.0}
RULE = (
    "effect = largest image AUROC, in either direction, of mean, standard deviation and distance to the mean "
    "training image over classes; supported if its 95 % interval (Bonferroni at the lower end) lies above "
    "{trivial_auroc:g}, refuted if below, undecided otherwise; a class with fewer than {least_images:g} "
    "images of a label is left out"
)
_DRAWS = 2000  # label permutations


def plan() -> Study:
    """The test images of a run, with its scores."""
    entries = (PlanEntry(site="*", quantity="image"), PlanEntry(site="image", quantity="score"))
    return Study(
        name="shortcut",
        system="moleflow",
        arms=(Arm(name="mini", preset="mini"),),
        tasks="all",
        seeds=1,
        record=(Recorded(plan=entries, split="test"),),
        decision_rule=RULE.format(**THRESHOLDS),
        thresholds=dict(THRESHOLDS),
        n=2 * int(THRESHOLDS["least_images"]),
        replication="image",
    )


def partialled_auroc(
    scores: Float[np.ndarray, " n"],
    statistics: Float[np.ndarray, "n statistic"],
    labels: Bool[np.ndarray, " n"],
    *,
    within: bool,
) -> float:
    """Return the AUROC of ranks of scores less their linear regression on ranks of statistics.

    `within`: slopes are those inside the two labels, so that what scores and statistics both owe to the label
    stays; else those over all images, which take that away as well.
    """
    target, given = rankdata(scores), np.apply_along_axis(rankdata, 0, statistics)
    groups = (labels, ~labels) if within else (np.ones(len(labels), dtype=bool),)
    residual, centred = target.copy(), given.copy()
    for group in groups:
        residual[group] -= target[group].mean()
        centred[group] -= given[group].mean(axis=0)
    slope = np.linalg.lstsq(centred, residual, rcond=None)[0]
    left = np.round(target - given @ slope, 6)  # ranks: what is smaller is rounding, and would be ranked too
    return auroc(left, labels)


def largest_by_chance(
    blocks: Mapping[str, tuple[Float[np.ndarray, "n statistic"], Bool[np.ndarray, " n"]]],
    *,
    draws: int,
    seed: int,
) -> Float[np.ndarray, "draw block"]:
    """Return the largest AUROC of each class, either direction, under permuted labels of that class."""
    rng = np.random.default_rng(seed)
    found = []
    for values, labels in blocks.values():
        ranks = np.apply_along_axis(rankdata, 0, values)
        shuffled = rng.permuted(np.tile(labels, (draws, 1)), axis=1)  # draw, n
        positives, negatives = int(labels.sum()), int((~labels).sum())
        area = (shuffled @ ranks - positives * (positives + 1) / 2) / (positives * negatives)
        found.append(np.maximum(area, 1 - area).max(axis=1))
    return np.stack(found, axis=1)


def measure(recording: Recording, *, sites: Mapping[str, str] | None = None) -> Evidence:
    """Return one row an image: its statistics, its label and, where recorded, its score."""
    keys = chosen_sites(SITES, sites, recording=recording)
    scored = keys["score"] in recording.keys("*")
    names = (*STATISTICS, "score") if scored else STATISTICS
    items, rows = image_rows(recording, [Pick(key=keys[name]) for name in names])
    entries = [recording.items[item] for item in items]
    columns: dict[str, tuple[Any, ...]] = {
        "recording": (recording.name,) * len(items),
        "item": tuple(entry.sha256 for entry in entries),
        "class_name": tuple(entry.class_name for entry in entries),
        "label": tuple(entry.label for entry in entries),
    }
    for name, index in zip(names, rows, strict=True):
        values = recording[keys[name]].exact(index)
        if values.ndim != 1 or not np.isfinite(values).all():
            raise MechlabError(
                f"'{keys[name]}' of '{recording.name}' is no finite number an image; choose another site."
            )
        columns[name] = tuple(values.tolist())
    return Evidence(
        probe="shortcut",
        replication="image",
        columns=columns,
        facts={"scored": scored},
        inputs=(recording.name,),
    )


def judge(
    evidence: Evidence,
    *,
    trivial_auroc: float = THRESHOLDS["trivial_auroc"],
    least_images: float = THRESHOLDS["least_images"],
) -> Result:
    """Judge the largest AUROC of a trivial statistic.

    `trivial_auroc` 0.75: half-way from chance to perfect. `least_images` 10 of each label: fewer leave an
    interval that cannot decide. The largest of several values is above the bar if any is, which takes
    Bonferroni, and below it only if all are, which takes none.
    """
    blocks = _blocks(evidence, least_images)
    thresholds = {"trivial_auroc": trivial_auroc, "least_images": least_images}
    tests = _statistic_table(blocks)
    null = largest_by_chance(blocks, draws=_DRAWS, seed=0) if blocks else np.empty((0, 0))
    worst = max(tests, key=lambda row: row["largest"], default=None)
    ends: tuple[float, float] | None = None
    verdict: Verdict = "undecided"
    if worst is not None:
        ends = max(row["low_all"] for row in tests), max(row["high"] for row in tests)
        verdict = side(ends, threshold=trivial_auroc, claim="above")
    return Result(
        probe=evidence.probe,
        hypothesis=HYPOTHESIS,
        decision_rule=RULE.format(**thresholds),
        verdict=verdict,
        effect=None if worst is None else worst["largest"],
        interval=ends,
        unit="image AUROC",
        null=_null_of(null.max(axis=1) if blocks else null),
        n=sum(len(labels) for _, labels in blocks.values()),
        replication="image",
        thresholds=thresholds,
        n_to_decide=_wanted(blocks, worst, thresholds) if verdict == "undecided" else None,
        reason=_reason(evidence, blocks, worst),
        tables={
            "statistics": tests,
            "classes": _class_table(blocks, tests, null),
            "scores": _score_table(evidence, blocks),
        },
        inputs=evidence.inputs,
    )


def _blocks(evidence: Evidence, least_images: float) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return class -> statistics and labels of its images, each image once; small classes are left out."""
    first = {item: row for row, item in reversed(list(enumerate(evidence.columns["item"])))}
    rows = np.array(sorted(first.values()), dtype=np.int64)
    classes, labels = evidence.column("class_name")[rows], evidence.column("label")[rows] == 1
    values = np.stack([evidence.column(name)[rows] for name in STATISTICS], axis=1)
    found = {}
    for name in dict.fromkeys(classes.tolist()):
        own = classes == name
        if min(labels[own].sum(), (~labels[own]).sum()) >= least_images:
            found[name] = (values[own].astype(np.float64), labels[own])
    return found


def _statistic_table(blocks: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Table:
    """One row a class and statistic: AUROC, the larger of both directions, and its intervals.

    `low` and `high` are of that value alone, `low_all` holds for all of them at once; none is below 0.5, as
    the better direction of a statistic is not.
    """
    count = 2 * len(STATISTICS) * len(blocks)  # either direction
    rows = []
    for name, (values, labels) in blocks.items():
        positives, negatives = int(labels.sum()), int((~labels).sum())
        for index, statistic in enumerate(STATISTICS):
            area = auroc(values[:, index], labels)
            larger = max(area, 1 - area)
            low, high = auroc_interval(larger, positives=positives, negatives=negatives)
            bound, _ = auroc_interval(
                larger, positives=positives, negatives=negatives, level=1 - 0.05 / count
            )
            known = {"class_name": name, "statistic": statistic, "auroc": area, "largest": larger}
            ends = {"low": max(0.5, low), "high": high, "low_all": max(0.5, bound)}
            rows.append(known | ends | {"n": len(labels)})
    return tuple(rows)


def _class_table(blocks: Mapping[str, Any], tests: Table, null: np.ndarray) -> Table:
    """One row a class: its largest AUROC beside that of permuted labels, with Holm's p-value over classes."""
    rows, chances = [], []
    for index, name in enumerate(blocks):
        seen = max(row["largest"] for row in tests if row["class_name"] == name)
        chances.append((1 + int((null[:, index] >= seen - 1e-12).sum())) / (1 + len(null)))
        low, high = np.quantile(null[:, index], (0.025, 0.975))
        rows.append(
            {"class_name": name, "largest": seen, "null": float(null[:, index].mean())}
            | {"null_low": float(low), "null_high": float(high)}
        )
    return tuple(row | {"p_holm": float(p)} for row, p in zip(rows, holm(np.array(chances)), strict=True))


def _score_table(evidence: Evidence, blocks: Mapping[str, Any]) -> Table:
    """One row a recording, class and statistic: the model's AUROC, with the statistic partialled out."""
    rows: list[dict[str, Any]] = []
    if "score" not in evidence.columns:
        return ()
    recordings, classes = evidence.column("recording"), evidence.column("class_name")
    for recording in dict.fromkeys(evidence.columns["recording"]):
        for name in blocks:
            own = (recordings == recording) & (classes == name)
            labels, scores = (
                evidence.column("label")[own] == 1,
                evidence.column("score")[own].astype(np.float64),
            )
            if not labels.any() or labels.all():
                continue
            for statistic in (*STATISTICS, "all"):
                chosen = STATISTICS if statistic == "all" else (statistic,)
                given = np.stack([evidence.column(one)[own] for one in chosen], axis=1).astype(np.float64)
                rows.append(
                    {"recording": recording, "class_name": name, "statistic": statistic}
                    | {"model_auroc": auroc(scores, labels)}
                    | {"within_labels": partialled_auroc(scores, given, labels, within=True)}
                    | {"over_all_images": partialled_auroc(scores, given, labels, within=False)}
                )
    return tuple(rows)


def _null_of(largest: np.ndarray) -> Null:
    kind = "permutation of labels within classes, largest taken"
    if not largest.size:
        return Null(kind=kind, value=0.5)
    low, high = np.quantile(largest, (0.025, 0.975))
    return Null(kind=kind, value=float(largest.mean()), interval=(float(low), float(high)))


def _wanted(
    blocks: Mapping[str, tuple[np.ndarray, np.ndarray]],
    worst: dict[str, Any] | None,
    thresholds: Mapping[str, float],
) -> int | None:
    """Return the images in all that would decide about the largest value, classes growing alike."""
    if worst is None:
        return 2 * int(thresholds["least_images"])
    values, labels = blocks[worst["class_name"]]
    column = values[:, STATISTICS.index(worst["statistic"])]
    above = worst["largest"] > thresholds["trivial_auroc"]
    level = 1 - 0.05 / (2 * len(STATISTICS) * len(blocks)) if above else 0.95
    pseudo = auroc_values(column if worst["auroc"] >= 0.5 else -column, labels)
    n = needed(pseudo, threshold=thresholds["trivial_auroc"], least_n=len(labels) + 1, level=level)
    total = sum(len(own) for _, own in blocks.values())
    return None if n is None else int(np.ceil(n * total / len(labels)))


def _reason(evidence: Evidence, blocks: Mapping[str, Any], worst: dict[str, Any] | None) -> str:
    small = [name for name in dict.fromkeys(evidence.columns["class_name"]) if name not in blocks]
    left = f"; left out, too few images: {', '.join(small)}" if small else ""
    if worst is None:
        return f"no class has enough images of both labels{left}"
    return f"the {worst['statistic']} on {worst['class_name']} is the largest{left}"
