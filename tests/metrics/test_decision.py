"""Decisions and false alarms at a wanted recall, against scikit-learn, by hand and by brute force."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from mechlab.metrics.decision import decisions, fpr_at_recall


def test_rates_equal_those_of_scikit_learn(rng):
    labels, called = rng.random(300) < 0.3, rng.random(300) < 0.4
    found = decisions(called, labels)
    assert found.accuracy == pytest.approx(accuracy_score(labels, called))
    assert found.precision == pytest.approx(precision_score(labels, called))
    assert found.recall == pytest.approx(recall_score(labels, called))
    assert found.f1 == pytest.approx(f1_score(labels, called))
    assert found.false_positive_rate == pytest.approx(1 - recall_score(~labels, ~called))


def test_a_rate_of_nothing_is_none():
    nothing = decisions(np.zeros(4, dtype=bool), np.zeros(4, dtype=bool))
    assert (nothing.precision, nothing.recall, nothing.f1) == (None, None, None)
    assert (nothing.accuracy, nothing.false_positive_rate) == (1.0, 0.0)
    assert decisions(np.ones(3, dtype=bool), np.ones(3, dtype=bool)).false_positive_rate is None


@pytest.mark.parametrize("recall", [0.01, 0.5, 0.9, 0.95, 1.0])
def test_no_threshold_has_that_recall_and_fewer_false_positives(rng, recall):
    labels = rng.random(120) < 0.4
    scores = np.round(rng.normal(size=120) + labels, 1)  # ties
    found = fpr_at_recall(scores, labels, recall=recall)
    rates = [
        float((scores[~labels] >= threshold).mean())
        for threshold in np.unique(scores)
        if (scores[labels] >= threshold).mean() >= recall - 1e-12
    ]
    assert found == pytest.approx(min(rates))


def test_false_alarms_by_hand():
    scores, labels = np.array([0.1, 0.2, 0.3, 0.4, 0.5]), np.array([0, 1, 0, 1, 1])
    assert fpr_at_recall(scores, labels, recall=2 / 3) == 0
    assert fpr_at_recall(scores, labels, recall=1.0) == 0.5


@pytest.mark.parametrize("recall", [0.0, 1.1])
def test_other_recalls_are_refused(recall):
    with pytest.raises(ValueError, match=r"recall .* is not in"):
        fpr_at_recall(np.array([0.1, 0.2]), np.array([0, 1]), recall=recall)
