"""What does a detector have to beat? The distance of a window's few numbers from those of normal traffic.

Nothing is learned but where normal windows lie: the score is the distance to the tenth nearest training
normal in (rate, entropy, interval), each in units of its deviation over training normals, so traffic of
several vehicles may lie in several places. Beside it stands each number alone, scored the same way, and the
share of unknown ids, which finds random ids without any model. The threshold comes from validation normals.
Sources: those of `statistics`; Ramaswamy, Rastogi & Shim 2000 (distance to the k-th neighbour).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy.spatial import cKDTree

from mechlab.errors import MechlabError
from mechlab.metrics.ranking import auroc
from mechlab.metrics.threshold import threshold_from_normals
from reproductions.can_ids.graph_set import ATTACK, NORMAL, GraphSet
from reproductions.can_ids.judging import BLOCK_SECONDS, RECALL, Judging, Scored, judged
from reproductions.can_ids.statistics import NAMES, Intervals, statistics

NEIGHBOURS = 10
COMBINED = (0, 1, 2)  # rate, entropy, interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Where the windows of normal traffic lie."""

    intervals: Intervals
    deviation: Float64[np.ndarray, " 4"]
    normals: Float64[np.ndarray, "normal 4"]  # in units of the deviation

    @classmethod
    def of(cls, training: GraphSet) -> "Baseline":
        """Learn from the normal windows of training.

        Raises:
            MechlabError: too few normal windows.
        """
        normals = training.labelled().select(training.y == NORMAL)
        if len(normals) <= NEIGHBOURS:
            raise MechlabError(
                f"the baseline needs more than {NEIGHBOURS} normal training windows, and there are "
                f"{len(normals)}; give longer attack-free logs."
            )
        intervals = Intervals.of(normals)
        values = statistics(normals, intervals)
        deviation = values.std(axis=0)
        deviation[deviation == 0] = 1.0  # a number that never varies is taken in its own unit
        return cls(intervals=intervals, deviation=deviation, normals=values / deviation)

    def scores(self, graphs: GraphSet) -> Float64[np.ndarray, " graph"]:
        """Return the distance of each window from normal traffic; no unit."""
        return self._away(graphs, COMBINED)

    def single(self, graphs: GraphSet) -> dict[str, Float64[np.ndarray, " graph"]]:
        """Return that distance in each number alone."""
        return {name: self._away(graphs, (place,)) for place, name in enumerate(NAMES)}

    def _away(self, graphs: GraphSet, columns: tuple[int, ...]) -> Float64[np.ndarray, " graph"]:
        tree = cKDTree(self.normals[:, columns])
        values = statistics(graphs, self.intervals)[:, columns] / self.deviation[list(columns)]
        return np.asarray(tree.query(values, k=[NEIGHBOURS])[0][:, 0], dtype=np.float64)


def judge_baseline(
    graphs: GraphSet,
    *,
    false_positive_rate: float = 0.01,
    seconds: float = BLOCK_SECONDS,
    recall: float = RECALL,
    split: str = "test",
) -> dict[str, Any]:
    """Return the baseline's metrics on each group of tests, its threshold, and each number's own AUROC.

    The rows are those of `judging.judged`; `single_auroc` is added to each of them and to each of its
    attacks. Another split than "test" is a group of its own name.

    Raises: MechlabError: no test or validation window, too few normals for the rate, windows without labels,
        a recall outside (0, 1] or a block of no length.
    """
    Judging(split=split, block=seconds, recall=recall)
    training, validation, test = (graphs.of_split(name).labelled() for name in ("train", "validation", split))
    test = test.grouped()
    if not len(test) or not len(validation):
        raise MechlabError(
            "the baseline needs test and validation windows; give a folder with a test part, and longer logs."
        )
    baseline = Baseline.of(training)
    normals = validation.select(validation.y == NORMAL)
    try:
        threshold = threshold_from_normals(baseline.scores(normals), false_positive_rate=false_positive_rate)
    except ValueError as fault:
        least = math.ceil(10_000 / (len(normals) + 1)) / 10_000
        raise MechlabError(
            f"{len(normals)} normal validation windows promise no false-positive rate of "
            f"{false_positive_rate:g}; give longer logs, or "
            f"--false-positives {least:g} or more."
        ) from fault
    rows = judged(
        Scored(graphs=test, scores=baseline.scores(test), threshold=threshold), seconds=seconds, recall=recall
    )
    for group, row in rows.items():
        _add_single(row, test.of_split(split, group), baseline)
    return {
        "threshold": threshold, "false_positive_rate": false_positive_rate,
        "training_normals": len(baseline.normals), "validation_normals": len(normals),
        "block_seconds": seconds, "recall": recall, "groups": rows,
    }  # fmt: skip


def _add_single(row: dict[str, Any], graphs: GraphSet, baseline: Baseline) -> None:
    """Write the AUROC of each number alone into the row of a group and the rows of its attacks."""
    names, labels, single = np.array(graphs.attacks), graphs.y == ATTACK, baseline.single(graphs)
    masks = {attack: (names == attack) | ~labels for attack in row["attacks"]}
    for one, kept in [
        (row, np.ones(len(graphs), dtype=bool)),
        *((row["attacks"][each], masks[each]) for each in masks),
    ]:
        has_both = labels[kept].any() and not labels[kept].all()
        one["single_auroc"] = {
            name: auroc(values[kept], labels[kept]) if has_both else None for name, values in single.items()
        }
