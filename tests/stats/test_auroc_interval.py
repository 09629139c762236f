import numpy as np
import pytest
from scipy.stats import binom, norm

from mechlab.metrics.ranking import auroc
from mechlab.stats.auroc_interval import auroc_interval, auroc_values


def test_the_interval_solves_its_own_equation():
    low, high = auroc_interval(0.8, positives=30, negatives=20)
    z, size = norm.ppf(0.975), 24
    for end in (low, high):
        spread = 1 + size * (1 - end) / (2 - end) + size * end / (1 + end)
        assert abs(0.8 - end) == pytest.approx(z * np.sqrt(end * (1 - end) * spread / 600))


@pytest.mark.parametrize("value", [0.0, 0.3, 0.5, 0.97, 1.0])
def test_turning_the_scores_round_turns_the_interval_round(value):
    low, high = auroc_interval(value, positives=12, negatives=40)
    turned = auroc_interval(1 - value, positives=12, negatives=40)
    assert (low, high) == pytest.approx((1 - turned[1], 1 - turned[0]))
    assert 0 <= low <= value <= high <= 1


def test_a_perfect_separation_of_few_images_leaves_room_for_doubt():
    low, high = auroc_interval(1.0, positives=10, negatives=10)
    assert high == 1.0
    assert 0.6 < low < 0.9


def test_more_images_and_a_lower_level_narrow_the_interval():
    low, high = auroc_interval(0.7, positives=20, negatives=20)
    closer = auroc_interval(0.7, positives=80, negatives=80)
    looser = auroc_interval(0.7, positives=20, negatives=20, level=0.8)
    assert low < closer[0] < closer[1] < high
    assert low < looser[0] < looser[1] < high


@pytest.mark.parametrize("true", [0.6, 0.75, 0.95])
def test_the_interval_holds_as_often_as_it_says(rng, true):
    shift, repeats = np.sqrt(2) * norm.ppf(true), 200
    held = 0
    for _ in range(repeats):
        scores = rng.standard_normal(40)
        scores[:20] += shift
        low, high = auroc_interval(auroc(scores, np.arange(40) < 20), positives=20, negatives=20)
        held += low <= true <= high
    assert held >= binom.ppf(0.001, repeats, 0.95)


def test_jackknife_values_average_to_the_auroc(rng):
    scores, labels = rng.integers(0, 6, 30).astype(float), np.arange(30) % 3 == 0
    assert auroc_values(scores, labels).mean() == pytest.approx(auroc(scores, labels))


def test_a_jackknife_value_is_what_leaving_the_image_out_gives(rng):
    scores, labels = rng.standard_normal(12), np.arange(12) < 5
    whole = auroc(scores, labels)
    left = [auroc(np.delete(scores, i), np.delete(labels, i)) for i in range(12)]
    np.testing.assert_allclose(auroc_values(scores, labels), 12 * whole - 11 * np.array(left))
