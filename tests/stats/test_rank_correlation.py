"""Spearman's correlation against SciPy, its invariances, and the shape in tenths."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from mechlab.stats.rank_correlation import rank_correlation, tenths


def test_it_is_spearmans_also_with_ties(rng):
    x, y = rng.integers(0, 6, (4, 3, 30)).astype(float), rng.standard_normal((4, 3, 30))
    found = rank_correlation(x, y)
    assert found.shape == (4, 3)
    expected = [[spearmanr(x[i, j], y[i, j]).statistic for j in range(3)] for i in range(4)]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_monotone_change_of_either_side_changes_nothing(rng):
    x, y = rng.standard_normal((2, 50))
    assert rank_correlation(np.exp(x), y**3) == pytest.approx(float(rank_correlation(x, y)))
    assert rank_correlation(x, -y) == pytest.approx(-float(rank_correlation(x, y)))
    assert rank_correlation(x, 2 * x + 1) == pytest.approx(1.0)


def test_what_is_constant_follows_nothing(rng):
    assert rank_correlation(rng.standard_normal(9), np.full(9, 0.2)) == 0


def test_tenths_are_means_over_the_mean_of_all(rng):
    x = rng.permutation(40).astype(float)
    np.testing.assert_allclose(tenths(x, x), (4 * np.arange(10) + 1.5) / 19.5)
    np.testing.assert_allclose(tenths(x, np.full(40, 3.0)), np.ones(10))
    with pytest.raises(ValueError, match="9 values make no tenths; give 10 or more"):
        tenths(x[:9], x[:9])
    with pytest.raises(ValueError, match="values of mean 0"):
        tenths(x, np.zeros(40))
