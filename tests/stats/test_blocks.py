"""Blocks of time as units: which windows they hold, and intervals that cover where windows would not."""

import numpy as np
import pytest
from scipy.stats import binom

from mechlab.metrics.ranking import auroc
from mechlab.stats.blocks import block_interval, blocks_of_time, jackknife_values
from mechlab.stats.intervals import mean_interval


def test_blocks_are_seconds_of_one_series():
    time = np.array([0.0, 1.9, 2.0, 5.9, 100.0, 100.5, 103.0])
    found = blocks_of_time(time, np.array([0, 0, 0, 0, 1, 1, 1]), seconds=2)
    assert found.tolist() == [0, 0, 1, 2, 3, 3, 4]
    moved = blocks_of_time(time + 7.0, np.array([0, 0, 0, 0, 1, 1, 1]), seconds=2)
    assert np.array_equal(found, moved)


def test_a_rest_of_less_than_half_a_block_belongs_to_the_one_before():
    time = np.arange(0, 10.5, 0.5)
    assert (
        blocks_of_time(time, np.zeros(time.size, dtype=int), seconds=4).max() == 2
    )  # 4, 4 and 2 of 4 seconds
    assert blocks_of_time(time[:-3], np.zeros(time.size - 3, dtype=int), seconds=4).max() == 1
    with pytest.raises(ValueError, match="0 seconds is none"):
        blocks_of_time(time, np.zeros(time.size, dtype=int), seconds=0)


def test_of_equal_blocks_the_pseudo_values_of_a_mean_are_their_means(rng):
    values, blocks = rng.normal(size=60), np.repeat(np.arange(6), 10)
    found = jackknife_values(lambda kept: float(values[kept].mean()), blocks)
    assert found == pytest.approx(values.reshape(6, 10).mean(axis=1))
    assert block_interval(lambda kept: float(values[kept].mean()), blocks, bounds=(-9, 9)) == pytest.approx(
        mean_interval(values.reshape(6, 10).mean(axis=1))
    )


def test_blocks_cover_where_windows_as_units_do_not():
    repeats, inside_blocks, inside_windows = 300, 0, 0
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        values = np.repeat(rng.normal(size=12), 20) + 0.3 * rng.normal(size=240)  # a level a block
        blocks = np.repeat(np.arange(12), 20)
        low, high = block_interval(lambda kept, of=values: float(of[kept].mean()), blocks, bounds=(-9, 9))
        inside_blocks += low <= 0 <= high
        low, high = mean_interval(values)
        inside_windows += low <= 0 <= high
    assert binom.ppf(1e-4, repeats, 0.95) <= inside_blocks
    assert inside_windows < 0.6 * repeats


def test_the_interval_of_an_auroc_of_chance_holds_chance_as_often_as_promised():
    repeats, inside = 120, 0
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        blocks = np.repeat(np.arange(15), 20)
        scores = np.repeat(rng.normal(size=15), 20) + rng.normal(size=300)
        labels = np.tile(np.repeat([False, True], 10), 15)
        low, high = block_interval(lambda kept, s=scores, y=labels: auroc(s[kept], y[kept]), blocks)
        inside += low <= 0.5 <= high
    assert binom.ppf(1e-4, repeats, 0.95) <= inside


def test_no_spread_and_no_value_have_no_interval():
    blocks = np.repeat(np.arange(4), 5)
    assert block_interval(lambda kept: 1.0, blocks) is None
    assert block_interval(lambda kept: None if not kept[:5].any() else 0.5, blocks) is None
    assert block_interval(lambda kept: float(kept.mean()), np.zeros(5, dtype=int)) is None


def test_an_interval_stays_among_the_values_that_there_are(rng):
    values = np.append(np.zeros(2), np.ones(58))
    low, high = block_interval(lambda kept: float(values[kept].mean()), np.repeat(np.arange(6), 10))
    assert 0 <= low < 1 and high == 1
