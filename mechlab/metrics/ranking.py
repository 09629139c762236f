"""How well do scores rank defective above normal? AUROC, average precision and the best F1, exact with ties.

Sources: Fawcett 2006 (ROC and its area, ties counted half); Davis & Goadrich 2006 (precision and recall).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

Labels = Bool[np.ndarray, " n"] | Integer[np.ndarray, " n"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Counts at every distinct score of a positive, ascending: all that ranking metrics need.

    Between two neighbouring scores of positives only false positives change, so no other threshold
    can move recall, and none can beat these in precision.
    """

    thresholds: Float[np.ndarray, " threshold"]
    true_positives: Int[np.ndarray, " threshold"]  # positives at or above the threshold
    false_positives: Int[np.ndarray, " threshold"]  # negatives at or above the threshold
    false_above: Int[np.ndarray, " threshold"]  # negatives strictly above the threshold
    positives: int
    negatives: int


def tally(scores: Float[np.ndarray, " n"], labels: Labels) -> Tally:
    """Sort positives and negatives once each and count them at every distinct score of a positive.

    `labels`: 1 or True is defective. Raises ValueError for unequal lengths, other labels, NaN scores,
    and when one of the two classes is empty.
    """
    positive = _is_positive(scores, labels)
    hits, misses = np.sort(scores[positive]), np.sort(scores[~positive])
    if not hits.size or not misses.size:
        kind = "positive" if not hits.size else "negative"
        raise ValueError(
            f"a ranking metric needs both classes; there is no {kind} among {scores.size} labels"
        )
    if np.isnan(hits[-1]) or np.isnan(misses[-1]):  # NaN sorts last
        raise ValueError("scores hold NaN; a NaN has no rank")
    first = np.flatnonzero(np.concatenate(([True], hits[1:] != hits[:-1])))
    thresholds = hits[first]
    return Tally(
        thresholds=thresholds,
        true_positives=hits.size - first,
        false_positives=misses.size - np.searchsorted(misses, thresholds, side="left"),
        false_above=misses.size - np.searchsorted(misses, thresholds, side="right"),
        positives=int(hits.size),
        negatives=int(misses.size),
    )


def auroc(scores: Float[np.ndarray, " n"], labels: Labels) -> float:
    """Return the probability that a positive scores above a negative, a tie counting half; in [0, 1].

    Counted in integers, so the only rounding is the last division. Raises ValueError as `tally` does.
    Source: Hanley & McNeil 1982 (the area is the Mann-Whitney statistic).
    """
    counts = tally(scores, labels)
    ties = -np.diff(counts.true_positives, append=0)  # positives at each threshold
    twice_won = 2 * counts.negatives - counts.false_positives - counts.false_above
    return int(ties @ twice_won) / (2 * counts.positives * counts.negatives)


def average_precision(scores: Float[np.ndarray, " n"], labels: Labels) -> float:
    """Return the precision averaged over steps of recall, without interpolation; in (0, 1].

    Equal to scikit-learn's `average_precision_score`. Raises ValueError as `tally` does.
    """
    counts = tally(scores, labels)
    steps = -np.diff(counts.true_positives, append=0) / counts.positives
    precision = counts.true_positives / (counts.true_positives + counts.false_positives)
    return float(steps @ precision)


def f1_max(scores: Float[np.ndarray, " n"], labels: Labels) -> tuple[float, float]:
    """Return the best F1 over all thresholds, and the threshold (`score >= threshold` is called positive).

    Of equal F1 the highest threshold is given. It is chosen on the same labels it is judged by, so it is an
    upper bound, not the F1 of a deployed detector. Raises ValueError as `tally` does.
    """
    counts = tally(scores, labels)
    called = counts.true_positives + counts.false_positives
    f1 = 2 * counts.true_positives / (counts.positives + called)
    best = f1.size - 1 - int(np.argmax(f1[::-1]))
    return float(f1[best]), float(counts.thresholds[best])


def _is_positive(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the labels as booleans, or raise ValueError."""
    if scores.shape != labels.shape:
        raise ValueError(f"{scores.size} scores but {labels.size} labels; give one label a score")
    if labels.dtype == np.bool_:
        return labels
    positive: np.ndarray = labels == 1
    if not np.all(positive | (labels == 0)):
        raise ValueError(f"labels must be 0 or 1, not {np.unique(labels)[:5].tolist()}")
    return positive
