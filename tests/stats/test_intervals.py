"""Intervals cover as often as they say: closed forms, simulation within binomial bounds, invariances."""

import numpy as np
import pytest
from scipy.stats import binom, ttest_1samp

from mechlab.stats import intervals
from mechlab.stats.intervals import (
    BOOTSTRAP_FROM,
    Interval,
    cluster_bootstrap,
    interval,
    mean_interval,
    unit_means,
)


def within(count, n, low, high=None):
    """Whether a count of n fits a probability between low and high (each tail 1e-4)."""
    high = low if high is None else high
    return binom.ppf(1e-4, n, low) <= count <= binom.ppf(1 - 1e-4, n, high)


@pytest.mark.parametrize("n", [2, 6, 19])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_t_interval_equals_scipy(rng, n, level):
    values = rng.standard_normal(n)
    expected = ttest_1samp(values, 0.0).confidence_interval(level)
    assert mean_interval(values, level=level) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("n", [2, 3, 6, 19])
def test_the_t_interval_covers_and_its_false_positives_are_five_percent(rng, n):
    repeats = 2500
    missed = sum(mean_interval(row).excludes(1.0) for row in rng.normal(1.0, 2.0, (repeats, n)))
    assert within(missed, repeats, 0.05)


def test_the_bootstrap_covers_normal_units(rng):
    repeats = 1500
    sample = rng.normal(1.0, 2.0, (repeats, 20))
    missed = sum(cluster_bootstrap(row, draws=600, seed=i).excludes(1.0) for i, row in enumerate(sample))
    assert within(missed, repeats, 0.045, 0.06)


def test_the_bootstrap_covers_skewed_units_where_t_does_not(rng):
    repeats = 1500
    sample = rng.exponential(1.0, (repeats, 20))
    missed = sum(cluster_bootstrap(row, draws=600, seed=i).excludes(1.0) for i, row in enumerate(sample))
    missed_by_t = sum(mean_interval(row).excludes(1.0) for row in rng.exponential(1.0, (4000, 20)))
    assert within(missed, repeats, 0.045, 0.065)
    assert missed_by_t > binom.ppf(1 - 1e-4, 4000, 0.05)


@pytest.mark.parametrize(("n", "least"), [(3, 0.18), (5, 0.11)])
def test_the_percentile_bootstrap_would_reject_far_too_often_below_twenty(rng, n, least):
    repeats = 1500
    sample = rng.standard_normal((repeats, n))
    means = sample[:, rng.integers(0, n, (600, n))].mean(axis=2)  # repeat, draw
    low, high = np.quantile(means, [0.025, 0.975], axis=1)
    assert np.mean((low > 0) | (high < 0)) > least


def test_patches_of_one_image_are_one_unit(rng):
    """A plain interval over clustered values misses most of the time; the one over clusters does not."""
    repeats, images, patches = 400, 25, 30
    centre = rng.standard_normal((repeats, images, 1))
    sample = (centre + 0.5 * rng.standard_normal((repeats, images, patches))).reshape(repeats, -1)
    clusters = np.repeat(np.arange(images), patches)
    missed = sum(interval(row, clusters=clusters).excludes(0.0) for row in sample)
    naive = sum(mean_interval(row).excludes(0.0) for row in sample)
    assert within(missed, repeats, 0.045, 0.06)
    assert naive > 0.5 * repeats


def test_twenty_units_are_where_the_bootstrap_begins(rng):
    few, enough = rng.exponential(1.0, BOOTSTRAP_FROM - 1), rng.exponential(1.0, BOOTSTRAP_FROM)
    assert interval(few) == mean_interval(few)
    assert interval(enough, seed=3) == cluster_bootstrap(enough, seed=3)
    assert interval(enough) != mean_interval(enough)


def test_units_are_counted_not_values(rng):
    values, clusters = rng.standard_normal(60), np.repeat(np.arange(6), 10)
    expected = mean_interval(values.reshape(6, 10).mean(axis=1))
    assert interval(values, clusters=clusters) == pytest.approx(expected, rel=1e-12)


def test_unit_means_take_each_unit_once():
    values = np.array([1.0, 10.0, 3.0, 20.0, 30.0])
    clusters = np.array([7, 2, 7, 2, 2])
    assert unit_means(values, clusters).tolist() == [20.0, 2.0]


@pytest.mark.parametrize("n", [8, 40])
def test_shift_and_scale_move_the_interval_along(rng, n):
    values = rng.exponential(1.0, n)
    low, high = interval(values)
    assert interval(4 * values + 1) == pytest.approx((4 * low + 1, 4 * high + 1), rel=1e-12)
    assert interval(-values) == pytest.approx((-high, -low), abs=0.05 * (high - low))


def test_a_larger_level_is_wider_and_a_seed_repeats(rng):
    values = rng.exponential(1.0, 30)
    inner, outer = cluster_bootstrap(values, level=0.8), cluster_bootstrap(values, level=0.99)
    assert outer.low < inner.low < values.mean() < inner.high < outer.high
    assert cluster_bootstrap(values, seed=5) == cluster_bootstrap(values, seed=5)
    assert cluster_bootstrap(values, seed=5) != cluster_bootstrap(values, seed=6)


def test_memory_blocks_do_not_change_the_draws(rng, monkeypatch):
    values = rng.standard_normal(25)
    whole = cluster_bootstrap(values, draws=500)
    monkeypatch.setattr(intervals, "_BLOCK", 25 * 60)  # 60 draws a block, the last one shorter
    assert cluster_bootstrap(values, draws=500) == whole


def test_equal_units_give_a_point_and_a_single_odd_one_falls_back_to_t():
    assert cluster_bootstrap(np.full(25, 0.5)) == Interval(0.5, 0.5)
    odd = np.append(np.zeros(24), 1.0)
    assert cluster_bootstrap(odd) == mean_interval(odd)


def test_an_interval_excludes_what_lies_outside():
    assert Interval(1.0, 2.0).excludes(2.1)
    assert Interval(1.0, 2.0).excludes(0)
    assert not Interval(1.0, 2.0).excludes(2.0)


@pytest.mark.parametrize("function", [mean_interval, cluster_bootstrap, interval])
def test_broken_values_are_refused(function):
    with pytest.raises(ValueError, match="at least two units, not 1"):
        function(np.zeros(1))
    with pytest.raises(ValueError, match="finite values"):
        function(np.append(np.zeros(30), np.nan))
    with pytest.raises(ValueError, match="level 1"):
        function(np.arange(30.0), level=1.0)


def test_one_cluster_is_no_interval():
    with pytest.raises(ValueError, match="at least two units, not 1"):
        interval(np.arange(30.0), clusters=np.zeros(30, int))
