"""Permutation tests keep their level, find what is planted; Holm equals statsmodels."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import binom
from statsmodels.stats.multitest import multipletests

from mechlab.stats.permutation import holm, permutation_test, sign_flip_test


def gap(values, labels):
    return float(values[labels == 1].mean() - values[labels == 0].mean())


def test_holm_equals_statsmodels_with_ties_and_extremes(rng):
    levels = np.array([0.0, 0.001, 0.01, 0.02, 0.2, 0.7, 1.0])
    for n in range(1, 41, 3):
        p_values = rng.choice(levels, n) if n % 2 else rng.random(n) ** 3
        expected = multipletests(p_values, method="holm")[1]
        np.testing.assert_allclose(holm(p_values), expected, atol=1e-15)


def test_holm_keeps_the_chance_of_any_false_rejection(rng):
    repeats = 4000
    wrong = sum(holm(row).min() <= 0.05 for row in rng.random((repeats, 8)))
    assert wrong <= binom.ppf(1 - 1e-4, repeats, 0.05)
    assert wrong >= binom.ppf(1e-4, repeats, 1 - (1 - 0.05 / 8) ** 8)


def test_holm_refuses_what_is_no_probability():
    for broken in (1.5, -0.1, np.nan):
        with pytest.raises(ValueError, match=r"lie in \[0, 1\]"):
            holm(np.array([0.5, broken]))


def test_sign_flips_equal_full_enumeration(rng):
    values = rng.standard_normal(7) + 0.5
    means = np.array([np.mean(np.array(signs) * values) for signs in product([-1, 1], repeat=7)])
    found = sign_flip_test(values)
    assert found.p_value == pytest.approx(np.mean(np.abs(means) >= abs(values.mean()) - 1e-12))
    assert found.null_mean == pytest.approx(0.0, abs=1e-15)
    assert found.draws == 128


def test_six_differences_of_one_sign_have_the_smallest_p_value(rng):
    assert sign_flip_test(rng.random(6) + 0.1).p_value == 2 / 64
    assert sign_flip_test(-rng.random(6) - 0.1).p_value == 2 / 64


@pytest.mark.parametrize(("n", "draws"), [(8, 4096), (15, 199)], ids=["exact", "random"])
def test_sign_flips_keep_their_level(rng, n, draws):
    repeats = 1500
    sample = rng.standard_t(3, (repeats, n))
    wrong = sum(sign_flip_test(row, draws=draws, seed=i).p_value <= 0.05 for i, row in enumerate(sample))
    assert binom.ppf(1e-4, repeats, 0.04) <= wrong <= binom.ppf(1 - 1e-4, repeats, 0.05)


def test_scale_does_not_matter_to_a_p_value(rng):
    values = rng.standard_normal(10)
    assert sign_flip_test(values * 1e-20).p_value == sign_flip_test(values).p_value


def test_a_permutation_test_keeps_its_level(rng):
    repeats, labels = 400, np.repeat([0, 1], [8, 7])
    wrong = sum(
        permutation_test(gap, row, labels, draws=99, seed=i).p_value <= 0.05
        for i, row in enumerate(rng.exponential(1.0, (repeats, 15)))
    )
    assert binom.ppf(1e-4, repeats, 0.02) <= wrong <= binom.ppf(1 - 1e-4, repeats, 0.05)


def test_a_planted_difference_is_found_and_lies_outside_its_null(rng):
    labels = np.repeat([0, 1], 30)
    found = permutation_test(gap, rng.standard_normal(60) + 1.5 * labels, labels, draws=999, seed=0)
    assert found.p_value == 2 / 1000  # never zero
    assert found.null_interval.excludes(found.observed)
    assert abs(found.null_mean) < 0.1


def test_blocks_keep_their_own_differences_out(rng):
    blocks = np.repeat(np.arange(10), 6)
    labels = (np.arange(60) % 6 < np.where(blocks < 5, 1, 5)).astype(int)  # mostly 1 in the later blocks
    values = 5.0 * (blocks >= 5) + rng.standard_normal(60)
    assert permutation_test(gap, values, labels, draws=299, seed=1).p_value < 0.02
    assert permutation_test(gap, values, labels, blocks=blocks, draws=299, seed=1).p_value > 0.05


def test_labels_move_only_inside_their_block(rng):
    blocks, labels = rng.permutation(np.repeat(np.arange(4), 5)), rng.integers(0, 2, 20)
    seen = []

    def count(values, given_labels):
        seen.append(np.bincount(blocks, weights=given_labels))
        return 0.0

    permutation_test(count, np.zeros(20), labels, blocks=blocks, draws=50, seed=0)
    assert len(seen) == 51
    assert all((one == seen[-1]).all() for one in seen)


def test_a_statistic_that_never_changes_has_p_value_one():
    found = permutation_test(lambda values, labels: 0.0, np.zeros(6), np.arange(6) % 2, draws=19, seed=0)
    assert (found.p_value, found.null_interval) == (1.0, (0.0, 0.0))


def test_broken_input_is_refused():
    with pytest.raises(ValueError, match="at least one draw"):
        sign_flip_test(np.ones(3), draws=0)
    with pytest.raises(ValueError, match="at least one value"):
        sign_flip_test(np.array([np.inf]))
    with pytest.raises(ValueError, match="level 0"):
        sign_flip_test(np.ones(3), level=0.0)
    with pytest.raises((TypeError, ValueError)):
        permutation_test(gap, np.zeros(3), np.zeros(4, int), seed=0)
