"""What are yes-or-no decisions worth, and how many false alarms does a wanted recall cost?

Sources: Fawcett 2006 (the counts and their rates); van Rijsbergen 1979 (F1).
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from mechlab.metrics.ranking import Labels, tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """Counts of calls that were right and wrong; a rate whose denominator is 0 is None, never 0 or 1."""

    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int

    @property
    def accuracy(self) -> float | None:
        """The share of right decisions. High for a detector that never calls, where positives are rare."""
        right = self.true_positives + self.true_negatives
        return _share(right, right + self.false_positives + self.false_negatives)

    @property
    def precision(self) -> float | None:
        """The share of calls that are right; None without a call."""
        return _share(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float | None:
        """The share of positives that are called; None without a positive."""
        return _share(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def false_positive_rate(self) -> float | None:
        """The share of negatives that are called; None without a negative."""
        return _share(self.false_positives, self.false_positives + self.true_negatives)

    @property
    def f1(self) -> float | None:
        """The harmonic mean of precision and recall; None where there is neither a positive nor a call."""
        twice = 2 * self.true_positives
        return _share(twice, twice + self.false_positives + self.false_negatives)


def decisions(called: Bool[np.ndarray, " n"], labels: Bool[np.ndarray, " n"]) -> Decisions:
    """Count decisions (`called`: the detector says positive) against labels (True: positive)."""
    hits = int(np.count_nonzero(called & labels))
    calls, positives = int(np.count_nonzero(called)), int(np.count_nonzero(labels))
    return Decisions(
        true_positives=hits,
        false_positives=calls - hits,
        true_negatives=labels.size - calls - positives + hits,
        false_negatives=positives - hits,
    )


def fpr_at_recall(scores: Float[np.ndarray, " n"], labels: Labels, *, recall: float = 0.95) -> float:
    """Return the least false-positive rate of all thresholds that call at least `recall` of the positives.

    A score at or above the threshold is called. The threshold is chosen on the labels that it is judged by,
    so this is what scores allow, not what a deployed detector has. Raises ValueError for a recall outside (0,
    1], and as `mechlab.metrics.ranking.tally` does.
    """
    if not 0 < recall <= 1:
        raise ValueError(f"recall {recall} is not in (0, 1]")
    counts = tally(scores, labels)
    wanted = math.ceil(recall * counts.positives - 1e-9)
    highest = int(np.flatnonzero(counts.true_positives >= wanted)[-1])
    return int(counts.false_positives[highest]) / counts.negatives


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
