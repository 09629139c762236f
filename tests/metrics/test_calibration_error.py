import numpy as np
import pytest

from mechlab.metrics.calibration_error import calibration_error, chance_error


def test_the_error_is_the_gap_between_what_is_said_and_what_is_so():
    labels = np.array([True] * 6 + [False] * 4)
    assert calibration_error(np.full(10, 0.6), labels) == pytest.approx(0.0)
    assert calibration_error(np.full(10, 0.9), labels) == pytest.approx(0.3)
    assert calibration_error(np.where(labels, 1.0, 0.0), labels) == 0.0
    assert calibration_error(np.where(labels, 0.0, 1.0), labels) == 1.0


def test_bins_are_weighed_by_what_is_in_them():
    probabilities, labels = np.array([0.1, 0.1, 0.1, 0.9]), np.array([False, False, False, False])
    assert calibration_error(probabilities, labels) == pytest.approx((3 * 0.1 + 0.9) / 4)
    assert calibration_error(probabilities, labels, bins=1) == pytest.approx(
        0.3
    )  # one bin: of the mean alone


def test_order_does_not_matter(rng):
    probabilities = rng.random(200)
    labels = rng.random(200) < probabilities**2
    order = rng.permutation(200)
    assert calibration_error(probabilities, labels) == pytest.approx(
        calibration_error(probabilities[order], labels[order])
    )


def test_calibrated_probabilities_have_the_error_of_chance_and_others_more(rng):
    probabilities = rng.random(400)
    chance = chance_error(probabilities, seed=0)
    fair = [calibration_error(probabilities, rng.random(400) < probabilities) for _ in range(40)]
    assert np.mean(fair) == pytest.approx(chance, abs=0.006)
    assert calibration_error(probabilities, rng.random(400) < probabilities**4) > 3 * chance


def test_chance_shrinks_with_the_number_and_vanishes_for_certainty(rng):
    assert chance_error(rng.random(4000), seed=1) < 0.5 * chance_error(rng.random(400), seed=1)
    assert chance_error(np.array([0.0, 1.0]), seed=0) == 0.0


@pytest.mark.parametrize(
    ("probabilities", "labels", "words", "told"),
    [
        ([], [], {}, "0 probabilities in 15 bins"),
        ([0.5], [True], {"bins": 0}, "1 probabilities in 0 bins"),
        ([0.5, 1.2], [True, False], {}, r"must lie in \[0, 1\]"),
        ([0.5, np.nan], [True, False], {}, r"must lie in \[0, 1\]"),
    ],
)
def test_what_has_no_error_is_refused(probabilities, labels, words, told):
    values, truth = np.array(probabilities, dtype=np.float64), np.array(labels, dtype=np.bool_)
    with pytest.raises(ValueError, match=told):
        calibration_error(values, truth, **words)


def test_no_draw_gives_no_mean():
    with pytest.raises(ValueError, match="0 draws give no mean"):
        chance_error(np.array([0.5]), draws=0, seed=0)


def test_a_probability_of_one_lies_in_the_last_bin():
    found = calibration_error(np.array([1.0, 0.95]), np.array([False, True]), bins=10)
    assert found == pytest.approx((1.0 - 0.05) / 2)  # in a bin of its own it would be (1 + 0.05) / 2
