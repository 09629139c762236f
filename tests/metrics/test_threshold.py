"""The decision threshold keeps its promised rate on other normals; its intervals cover."""

import numpy as np
import pytest
from scipy.stats import binom
from statsmodels.stats.proportion import proportion_confint

from mechlab.metrics.threshold import promised_rate, rate_above, threshold_from_normals


@pytest.mark.parametrize(("n", "rate", "rank"), [(19, 0.05, 19), (20, 0.05, 20), (39, 0.05, 38), (9, 0.1, 9)])
def test_the_threshold_is_the_conformal_rank(rng, n, rate, rank):
    scores = rng.permutation(np.arange(1.0, n + 1))
    assert threshold_from_normals(scores, false_positive_rate=rate) == rank


@pytest.mark.parametrize(("n", "rate"), [(19, 0.05), (30, 0.05), (60, 0.1)])
def test_other_normals_exceed_it_no_more_often_than_promised(rng, n, rate):
    repeats = 20000
    scores = rng.gamma(2.0, size=(repeats, n + 1))
    thresholds = np.array([threshold_from_normals(row[:n], false_positive_rate=rate) for row in scores])
    flagged = np.count_nonzero(scores[:, n] > thresholds)
    exact = np.floor((n + 1) * rate + 1e-9) / (n + 1)  # for continuous scores the promise is met exactly
    assert exact <= rate
    assert binom.ppf(1e-4, repeats, exact) <= flagged <= binom.ppf(1 - 1e-4, repeats, exact)


def test_ties_do_not_break_the_promise():
    assert threshold_from_normals(np.ones(19)) == 1.0  # and 1.0 > 1.0 flags none
    assert rate_above(np.ones(19), 1.0).rate == 0.0


def test_shift_and_scale_move_the_threshold_along(rng):
    scores = rng.standard_normal(50)
    assert threshold_from_normals(3 * scores + 2) == 3 * threshold_from_normals(scores) + 2


def test_too_few_normals_are_refused_with_the_number_needed():
    with pytest.raises(ValueError, match=r"18 normal images cannot .* give at least 19 or a rate of 1/19"):
        threshold_from_normals(np.arange(18.0))


@pytest.mark.parametrize("n", [1, 4, 18, 19, 200])
def test_the_promised_rate_can_be_promised(n):
    rate = promised_rate(n)
    assert rate >= 0.05
    assert threshold_from_normals(np.arange(float(n)), false_positive_rate=rate) <= n - 1
    assert n < 19 or rate == 0.05


@pytest.mark.parametrize("n", [1, 10, 25])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_interval_of_a_rate_covers_at_every_true_rate(n, level):
    found = [rate_above(np.repeat([1.0, -1.0], [k, n - k]), 0, level=level) for k in range(n + 1)]
    low, high = np.array([[rate.low, rate.high] for rate in found]).T
    for truth in np.linspace(0.001, 0.999, 333):
        covered = binom.pmf(np.arange(n + 1), n, truth)[(low <= truth) & (truth <= high)].sum()
        assert covered >= level - 1e-12


@pytest.mark.parametrize("above", [0, 1, 3, 40])
def test_the_interval_of_a_rate_is_clopper_pearson(above):
    found = rate_above(np.repeat([1.0, 0.0], [above, 40 - above]), 0.5)
    assert (found.rate, found.n) == (above / 40, 40)
    expected = proportion_confint(above, 40, method="beta")
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("rate", [0, 1, -0.1])
def test_a_rate_outside_zero_and_one_is_refused(rate):
    with pytest.raises(ValueError, match=r"not in \(0, 1\)"):
        threshold_from_normals(np.arange(40.0), false_positive_rate=float(rate))


def test_broken_scores_and_levels_are_refused():
    with pytest.raises(ValueError, match="must be finite"):
        threshold_from_normals(np.full(40, np.nan))
    with pytest.raises(ValueError, match="at least one score"):
        rate_above(np.zeros(0), 0.0)
    with pytest.raises(ValueError, match="level 1"):
        rate_above(np.zeros(3), 0.0, level=1.0)
    with pytest.raises(ValueError, match="no rate can be promised"):
        promised_rate(0)
