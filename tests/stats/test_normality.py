"""Distances from N(0, I): closed forms, equal to SciPy, planted departures found, N(0, I) not found."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtri

from mechlab.stats import normality
from mechlab.stats.normality import (
    covariance_error,
    mardia_kurtosis,
    moments,
    norm_distance,
    qq_correlation,
    sliced_wasserstein,
    wasserstein_normal,
)

NULL_DRAWS = 99


def statistics(z):
    """One number a statistic, oriented so that larger is further from normal."""
    found = moments(z)
    return {
        "wasserstein": float(wasserstein_normal(z).mean()),
        "qq": float((1 - qq_correlation(z)).mean()),
        "std": float(np.abs(found.std - 1).mean()),
        "kurtosis": float(found.excess_kurtosis.mean()),
        "norm": norm_distance(z),
        "sliced": float(sliced_wasserstein(z, directions=32, seed=0).mean()),
        "mardia": mardia_kurtosis(z),
        "covariance": covariance_error(z),
    }


def normal_quantiles(n):
    return ndtri((np.arange(n) + 0.5) / n)


@pytest.fixture(scope="module")
def null():
    rng = np.random.default_rng(1)
    draws = [statistics(rng.standard_normal((400, 6))) for _ in range(NULL_DRAWS)]
    return {name: np.array([draw[name] for draw in draws]) for name in draws[0]}


def found_by(null, z):
    return {name for name, value in statistics(z).items() if value > np.max(null[name])}


def test_a_shift_by_m_is_m_far_and_a_scale_s_is_s_less_1_far():
    z = normal_quantiles(100_000)[:, None]
    shifted = np.hstack([z + m for m in (-2.0, 0.5, 3.0)])
    scaled = np.hstack([z * s for s in (0.5, 1.3, 2.0)])
    np.testing.assert_allclose(wasserstein_normal(shifted), [2.0, 0.5, 3.0], atol=1e-4)
    np.testing.assert_allclose(wasserstein_normal(scaled), [0.5, 0.3, 1.0], atol=2e-4)
    assert wasserstein_normal(z)[0] < 0.006


def test_the_distance_is_the_integral_over_quantiles(rng):
    """The definition, integrated numerically: mean over u of (sample quantile - normal quantile) squared."""
    z = rng.standard_t(4, (7, 1))
    u = (np.arange(7 * 200_000) + 0.5) / (7 * 200_000)
    expected = np.sqrt(np.mean((np.repeat(np.sort(z[:, 0]), 200_000) - ndtri(u)) ** 2))
    assert wasserstein_normal(z)[0] == pytest.approx(expected, rel=1e-5)


def test_one_row_is_as_far_as_its_second_moment_says():
    np.testing.assert_allclose(wasserstein_normal(np.array([[0.0, 2.0]])), np.sqrt([1.0, 5.0]))


def test_qq_correlation_equals_scipy_and_ignores_shift_and_scale(rng):
    z = rng.standard_t(5, (300, 3))
    expected = [stats.probplot(column)[1][2] for column in z.T]
    np.testing.assert_allclose(qq_correlation(z), expected, atol=1e-12)
    np.testing.assert_allclose(qq_correlation(5 * z - 2), expected, atol=1e-12)


def test_moments_equal_scipy_even_far_from_zero(rng):
    z = rng.gamma(2.0, size=(500, 4))
    for offset in (0.0, 1000.0):
        found = moments(z + offset)
        np.testing.assert_allclose(found.mean, z.mean(axis=0) + offset, rtol=1e-12)
        np.testing.assert_allclose(found.std, z.std(axis=0), rtol=1e-9)
        np.testing.assert_allclose(found.skew, stats.skew(z), rtol=1e-8)
        np.testing.assert_allclose(found.excess_kurtosis, stats.kurtosis(z), rtol=1e-8)


def test_norm_distance_equals_the_kolmogorov_smirnov_statistic(rng):
    z = rng.standard_normal((300, 8)) * 1.1
    expected = stats.kstest(np.sum(z**2, axis=1), stats.chi2(8).cdf).statistic
    assert norm_distance(z) == pytest.approx(expected, abs=1e-12)


def test_sliced_distance_is_the_distance_along_unit_directions(rng):
    z = rng.standard_normal((200, 5))
    found = sliced_wasserstein(3 * z, directions=40, seed=7)
    assert found.shape == (40,)
    np.testing.assert_array_equal(found, sliced_wasserstein(3 * z, directions=40, seed=7))
    line = sliced_wasserstein(z[:, :1], directions=3, seed=0)  # one dimension: the directions are +1 and -1
    both = [wasserstein_normal(sign * z[:, :1])[0] for sign in (1, -1)]
    assert all(np.isclose(value, both).any() for value in line)


def test_sliced_distance_of_a_shift_is_its_projection_on_average(rng):
    z = rng.standard_normal((4000, 3)) + np.array([4.0, 0.0, 0.0])
    assert sliced_wasserstein(z, directions=2000, seed=0).mean() == pytest.approx(
        2.0, abs=0.1
    )  # E|u_1| = 1/2


def test_mardia_by_its_definition_and_blind_to_affine_change(rng):
    z = rng.standard_t(6, (200, 4))
    centred = z - z.mean(axis=0)
    inverse = np.linalg.inv(centred.T @ centred / 200)
    kurtosis = np.mean(np.einsum("ni,ij,nj->n", centred, inverse, centred) ** 2)
    expected = kurtosis / (24 * 199 / 201) - 1
    assert mardia_kurtosis(z) == pytest.approx(expected, rel=1e-10)
    assert mardia_kurtosis(z @ rng.standard_normal((4, 4)) + 3) == pytest.approx(expected, rel=1e-8)


def test_mardia_is_unbiased_for_normal_rows(rng):
    values = [mardia_kurtosis(rng.standard_normal((40, 5))) for _ in range(400)]
    assert abs(np.mean(values)) < 4 * np.std(values) / 20


def test_covariance_error_by_hand_and_its_null(rng):
    signs = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])  # covariance 4/3 I
    assert covariance_error(signs) == pytest.approx(1 / 3)
    found = np.mean([covariance_error(rng.standard_normal((500, 20))) ** 2 for _ in range(50)])
    assert np.sqrt(found) == pytest.approx(np.sqrt(21 / 499), rel=0.05)


def test_rotation_does_not_matter_to_joint_statistics(rng):
    z = rng.standard_t(5, (300, 6))
    turned = z @ np.linalg.qr(rng.standard_normal((6, 6)))[0]
    for statistic in (norm_distance, mardia_kurtosis, covariance_error):
        assert statistic(turned) == pytest.approx(statistic(z), abs=1e-10)


@pytest.mark.parametrize("statistic", [wasserstein_normal, qq_correlation, norm_distance, covariance_error])
def test_the_order_of_rows_does_not_matter(rng, statistic):
    z = rng.standard_normal((100, 4))
    np.testing.assert_allclose(statistic(z[::-1]), statistic(z), atol=1e-12)


def test_heavy_tails_are_found(rng, null):
    z = rng.standard_t(5, (400, 6)) * np.sqrt(3 / 5)  # unit variance
    assert {"wasserstein", "qq", "kurtosis", "mardia"} <= found_by(null, z)


def test_radial_tails_are_found_by_joint_statistics(rng, null):
    z = rng.standard_normal((400, 6)) * np.sqrt(3 / rng.chisquare(5, (400, 1)))  # one scale a row
    assert {"kurtosis", "norm", "mardia"} <= found_by(null, z)


def test_a_scale_of_1_3_is_found_and_scale_free_statistics_are_blind(rng, null):
    found = found_by(null, 1.3 * rng.standard_normal((400, 6)))
    assert {"wasserstein", "std", "norm", "sliced", "covariance"} <= found
    assert not {"qq", "mardia", "kurtosis"} & found


def test_normal_rows_are_found_no_more_often_than_chance(rng, null):
    repeats = 200
    hits = dict.fromkeys(null, 0)
    for _ in range(repeats):
        for name, value in statistics(rng.standard_normal((400, 6))).items():
            hits[name] += bool(np.mean(null[name] >= value) <= 0.05)
    # the 95 % point of 99 draws is itself uncertain: beta-binomial bounds of the rate at 1e-4
    bound = stats.betabinom.ppf(1 - 1e-4, repeats, 5, NULL_DRAWS - 4)
    assert max(hits.values()) <= bound


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_low_precision_input_is_computed_in_double(rng, kind):
    z = rng.standard_normal((300, 5)).astype(kind)
    expected = statistics(z.astype(np.float64))
    assert statistics(z) == pytest.approx(expected, abs=1e-12)


def test_blocks_of_dimensions_do_not_matter(rng, monkeypatch):
    z = rng.standard_t(5, (50, 7))
    whole = statistics(z)
    monkeypatch.setattr(normality, "_VALUES", 120)  # two dimensions a block
    assert statistics(z) == pytest.approx(whole, abs=1e-14)


ALL = [wasserstein_normal, qq_correlation, moments, norm_distance, mardia_kurtosis, covariance_error]


@pytest.mark.parametrize("statistic", ALL, ids=lambda one: one.__name__)
def test_values_not_finite_and_missing_rows_are_refused(rng, statistic):
    z = rng.standard_normal((20, 3))
    z[4, 1] = np.nan
    with pytest.raises(ValueError, match="finite"):
        statistic(z)
    with pytest.raises(ValueError, match="rows"):
        statistic(np.zeros((0, 3)))


def test_degenerate_latents_are_refused(rng):
    z = rng.standard_normal((20, 3))
    z[:, 1] = 2.0
    for statistic in (qq_correlation, moments):
        with pytest.raises(ValueError, match="1 dimensions are constant"):
            statistic(z)
    with pytest.raises(ValueError, match="covariance is singular"):
        mardia_kurtosis(z)
    with pytest.raises(ValueError, match="at least 4 rows"):
        mardia_kurtosis(z[:3])
    with pytest.raises(ValueError, match="at least one direction"):
        sliced_wasserstein(z, directions=0, seed=0)


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_caller_s_array_is_left_as_it_was(rng, order):
    z = np.array(rng.normal(size=(50, 3)), order=order)
    before = z.copy()
    normality.wasserstein_normal(z)
    normality.qq_correlation(z)
    assert np.array_equal(z, before)
