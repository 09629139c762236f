"""The metrics of scored windows: over each group of tests, and over each attack in it, with intervals.

The unit of an interval is a block of time (`mechlab.stats.blocks`), since neighbouring windows hold the same
burst of an attack. An attack is judged against all normal windows of its group. Source: notes 003; README of
the metrics in docs/systems/can-ids.md.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from mechlab.errors import MechlabError, unknown
from mechlab.metrics.decision import decisions, fpr_at_recall
from mechlab.metrics.ranking import auroc, average_precision
from mechlab.stats.blocks import block_interval, blocks_of_time
from reproductions.can_ids.graph_set import ATTACK, GraphSet
from reproductions.can_ids.splits import NAMES

BLOCK_SECONDS = 5.0
RECALL = 0.95  # at which false positives are counted
DECIDED = ("accuracy", "precision", "recall", "f1")
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """Which windows are judged, and what their numbers rest on."""

    split: str = "test"  # or "train", "validation"
    block: float = BLOCK_SECONDS  # seconds of the blocks of time, the units of the intervals
    recall: float = RECALL  # at which `fpr_at_recall` counts
    false_positives: float | None = None  # at which thresholds are set; None: as the training was told

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            MechlabError: an unknown split, a block of no length, a recall or a rate outside its range.
        """
        if self.split not in NAMES:
            raise unknown("split of windows", self.split, NAMES)
        if not 0 < self.recall <= 1 or not 0 < self.block < math.inf:
            raise MechlabError(
                f"a recall of {self.recall:g} and a block of {self.block:g} s were given; a recall lies in "
                "(0, 1] and a block is longer than 0 s."
            )
        if self.false_positives is not None and not 0 < self.false_positives < 1:
            raise MechlabError(
                f"false positives of {self.false_positives:g} were given; a rate lies between 0 and 1, such "
                "as 0.01."
            )


USUAL = Judging()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Windows with their scores; those above the threshold are called attacks."""

    graphs: GraphSet
    scores: Float64[np.ndarray, " graph"]
    threshold: float

    def of(self, mask: Bool[np.ndarray, " graph"]) -> "Scored":
        """Return some of the windows."""
        return Scored(graphs=self.graphs.select(mask), scores=self.scores[mask], threshold=self.threshold)

    @property
    def labels(self) -> Bool[np.ndarray, " graph"]:
        """Whether a window holds an attack."""
        return self.graphs.y == ATTACK


def judged(scored: Scored, *, seconds: float = BLOCK_SECONDS, recall: float = RECALL) -> dict[str, Row]:
    """Return a row of metrics for each group of tests, in the order of its name.

    A row has the metrics of all its attacks together, `f1_macro` (the mean of F1 over its attacks),
    `intervals` (95 %, None where no spread was seen) and `attacks`, a row for each attack. A metric that
    needs windows of both kinds is None without. `seconds` is the length of a block, `recall` that at which
    `fpr_at_recall` counts.

    Raises:
        MechlabError: a window without a label.
    """
    graphs = scored.graphs.labelled()
    groups = np.array([source.group for source in graphs.sources])[graphs.source]
    found = {}
    for group in np.unique(groups).tolist():
        own = scored.of(groups == group)
        names = np.array(own.graphs.attacks)
        attacks = {
            name: _row(own.of((names == name) | ~own.labels), seconds=seconds, recall=recall)
            for name in np.unique(names[own.labels]).tolist()
        }
        row = _row(own, seconds=seconds, recall=recall)
        f1 = [one["f1"] for one in attacks.values()]
        found[group] = row | {"f1_macro": float(np.mean(f1)) if f1 else None, "attacks": attacks}
    return found


def _row(scored: Scored, *, seconds: float, recall: float) -> Row:
    graphs, labels = scored.graphs, scored.labels
    blocks = blocks_of_time(graphs.start, graphs.source, seconds=seconds)
    everything = np.ones(len(graphs), dtype=np.bool_)
    values, intervals = {}, {}
    for name, statistic in _statistics(scored, recall=recall).items():
        values[name] = statistic(everything)
        bounds = block_interval(statistic, blocks)
        intervals[name] = None if bounds is None else [bounds.low, bounds.high]
    counts = {
        "windows": len(graphs),
        "attack_windows": int(labels.sum()),
        "blocks": int(blocks.max(initial=-1)) + 1,
    }
    return counts | values | {"intervals": intervals}


def _statistics(
    scored: Scored, *, recall: float
) -> dict[str, Callable[[Bool[np.ndarray, " graph"]], float | None]]:
    scores, labels = scored.scores, scored.labels
    called = scores > scored.threshold

    def decided(name: str) -> Callable[[Bool[np.ndarray, " graph"]], float | None]:
        return lambda kept: getattr(decisions(called[kept], labels[kept]), name)

    def ranked(metric: Callable[..., float]) -> Callable[[Bool[np.ndarray, " graph"]], float | None]:
        def value(kept: Bool[np.ndarray, " graph"]) -> float | None:
            return metric(scores[kept], labels[kept]) if len(np.unique(labels[kept])) == 2 else None

        return value

    return {name: decided(name) for name in DECIDED} | {
        "auroc": ranked(auroc),
        "ap": ranked(average_precision),
        "fpr_at_recall": ranked(lambda one, truth: fpr_at_recall(one, truth, recall=recall)),
    }
