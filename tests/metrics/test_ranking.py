"""Ranking metrics: equal to scikit-learn with ties, closed forms, invariances, refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from mechlab.metrics.ranking import auroc, average_precision, f1_max, tally


@st.composite
def ranked(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Scores with many ties, and labels with both classes."""
    n = draw(st.integers(2, 60))
    kind = draw(st.sampled_from([np.float16, np.float32, np.float64]))
    scores = np.array(draw(st.lists(st.integers(-4, 4), min_size=n, max_size=n)), kind) / 2
    labels = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    labels[0], labels[1] = True, False
    return scores, labels


def reference_f1(scores, labels):
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    best = np.flatnonzero(np.isclose(f1[:-1], f1[:-1].max(), rtol=1e-12))[-1]
    return f1[best], thresholds[best]


@settings(max_examples=150, deadline=None)
@given(ranked())
def test_all_three_equal_scikit_learn_on_tied_scores(case):
    scores, labels = case
    assert auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-14)
    assert average_precision(scores, labels) == pytest.approx(
        average_precision_score(labels, scores), abs=1e-14
    )
    assert f1_max(scores, labels) == pytest.approx(reference_f1(scores, labels), abs=1e-14)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_all_three_equal_scikit_learn_without_ties(rng, kind):
    labels = rng.random(5000) < 0.03
    scores = (rng.standard_normal(5000) + labels).astype(kind)
    assert auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-14)
    assert average_precision(scores, labels) == pytest.approx(
        average_precision_score(labels, scores), abs=1e-14
    )
    assert f1_max(scores, labels) == pytest.approx(reference_f1(scores, labels), abs=1e-14)


def test_known_case_by_hand():
    scores = np.array([3.0, 2.0, 2.0, 1.0])
    labels = np.array([1, 0, 1, 0])
    assert auroc(scores, labels) == 3.5 / 4  # of four pairs three are won and one is tied
    assert average_precision(scores, labels) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert f1_max(scores, labels) == (pytest.approx(0.8), 2.0)


def test_constant_scores_are_chance():
    labels = np.array([True, False, False, False])
    scores = np.zeros(4)
    assert auroc(scores, labels) == 0.5
    assert average_precision(scores, labels) == 0.25


def test_perfect_and_inverted_order_are_one_and_zero():
    labels = np.array([0, 0, 1, 1])
    scores = np.array([0.0, 1.0, 2.0, 3.0])
    assert auroc(scores, labels) == 1.0
    assert auroc(-scores, labels) == 0.0
    assert f1_max(scores, labels) == (1.0, 2.0)


def test_a_monotone_change_of_scores_does_not_matter(rng):
    scores = np.round(rng.standard_normal(300), 1)
    labels = rng.random(300) < 0.3
    assert auroc(np.exp(scores), labels) == auroc(scores, labels)
    assert average_precision(np.exp(scores), labels) == average_precision(scores, labels)


def test_swapping_the_classes_and_the_sign_keeps_auroc(rng):
    scores = np.round(rng.standard_normal(300), 1)
    labels = rng.random(300) < 0.3
    assert auroc(-scores, ~labels) == auroc(scores, labels)


def test_of_equally_good_thresholds_the_highest_is_given():
    scores = np.array([4.0, 3.0, 2.0, 1.0, 0.0, -1.0])
    labels = np.array([1, 0, 0, 1, 0, 0])  # F1 2/3 at 4 and 2/3 at 1
    assert f1_max(scores, labels) == (pytest.approx(2 / 3), 4.0)


def test_infinite_scores_have_a_rank():
    assert auroc(np.array([np.inf, 0.0, -np.inf]), np.array([1, 0, 0])) == 1.0


def test_counts_at_each_threshold():
    counts = tally(np.array([1.0, 2.0, 2.0, 2.0, 5.0]), np.array([1, 1, 0, 1, 0]))
    assert counts.thresholds.tolist() == [1.0, 2.0]
    assert counts.true_positives.tolist() == [3, 2]
    assert counts.false_positives.tolist() == [2, 2]
    assert counts.false_above.tolist() == [2, 1]


@pytest.mark.parametrize("metric", [auroc, average_precision, f1_max])
def test_one_class_alone_is_refused(metric):
    with pytest.raises(ValueError, match="no positive among 2 labels"):
        metric(np.zeros(2), np.array([0, 0]))
    with pytest.raises(ValueError, match="no negative among 2 labels"):
        metric(np.zeros(2), np.array([1, 1]))


@pytest.mark.parametrize("metric", [auroc, average_precision, f1_max])
@pytest.mark.parametrize("place", [0, 1])
def test_a_nan_is_refused(metric, place):
    scores = np.zeros(4)
    scores[place] = np.nan
    with pytest.raises(ValueError, match="NaN has no rank"):
        metric(scores, np.array([1, 0, 1, 0]))


def test_labels_other_than_zero_and_one_are_refused():
    with pytest.raises(ValueError, match=r"labels must be 0 or 1, not \[0, 1, 2\]"):
        auroc(np.zeros(3), np.array([0, 1, 2]))


def test_unequal_lengths_are_refused():
    with pytest.raises((TypeError, ValueError)):  # the shape check of the tests, or the function itself
        auroc(np.zeros(3), np.array([0, 1]))
