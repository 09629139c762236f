"""The number of replicates that would decide really decides, and one less does not."""

import numpy as np
import pytest
from scipy.stats import binom, nct, t
from statsmodels.stats.power import TTestPower

from mechlab.stats.power import n_to_decide, t_power


def with_moments(mean, std, n=8):
    values = np.linspace(-1, 1, n)
    return mean + std * values / values.std(ddof=1)


@pytest.mark.parametrize("n", [2, 3, 6, 30, 400])
@pytest.mark.parametrize("effect", [0.0, 0.1, 0.5, 2.0])
def test_power_equals_the_noncentral_t(n, effect):
    critical = t.ppf(0.975, n - 1)
    expected = nct.sf(critical, n - 1, effect * np.sqrt(n)) if effect else 0.025
    assert t_power(effect, n) == pytest.approx(expected, abs=2e-4)


def test_power_survives_huge_effects():
    assert t_power(1e6, 2) == pytest.approx(1.0, abs=1e-3)
    assert t_power(1e6, 50) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("effect", [0.3, 0.5, 0.8, 1.2])
@pytest.mark.parametrize("power", [0.8, 0.95])
def test_n_equals_statsmodels(effect, power):
    solved = TTestPower().solve_power(effect, alpha=0.05, power=power, alternative="two-sided")
    assert n_to_decide(with_moments(effect, 1.0), threshold=0.0, power=power) == int(np.ceil(solved))


@pytest.mark.parametrize("effect", [0.5, 1.0, 2.0])
def test_n_replicates_decide_as_often_as_asked_by_simulation(rng, effect):
    n = n_to_decide(with_moments(3.0 + effect, 1.0), threshold=3)
    repeats = 8000

    def decided(count):
        sample = rng.normal(3.0 + effect, 1.0, (repeats, count))
        half = t.ppf(0.975, count - 1) * sample.std(axis=1, ddof=1) / np.sqrt(count)
        return np.count_nonzero(sample.mean(axis=1) - half > 3.0)

    assert decided(n) >= binom.ppf(1e-4, repeats, 0.8)
    assert decided(n - 1) <= binom.ppf(1 - 1e-4, repeats, 0.8)


def test_side_scale_and_shift_do_not_matter():
    n = n_to_decide(with_moments(0.4, 1.0), threshold=0.0)
    assert n_to_decide(with_moments(-0.4, 1.0), threshold=0.0) == n
    assert n_to_decide(with_moments(10.0 + 4.0, 10.0), threshold=10.0) == n


def test_a_smaller_effect_and_more_power_need_more():
    assert n_to_decide(with_moments(0.2, 1.0), threshold=0.0) > n_to_decide(
        with_moments(0.4, 1.0), threshold=0.0
    )
    assert n_to_decide(with_moments(0.4, 1.0), threshold=0.0, power=0.99) > 70
    assert n_to_decide(with_moments(0.4, 1.0), threshold=0.0, level=0.99) > 70


def test_what_cannot_be_decided_gives_none():
    assert n_to_decide(np.array([1.0]), threshold=0.0) is None
    assert n_to_decide(np.array([1.0, 3.0]), threshold=2.0) is None
    assert n_to_decide(with_moments(1e-6, 1.0), threshold=0.0) is None


def test_replicates_without_spread_need_two():
    assert n_to_decide(np.array([1.0, 1.0]), threshold=0.0) == 2


def test_broken_input_is_refused():
    with pytest.raises(ValueError, match="power 1"):
        n_to_decide(np.arange(3.0), threshold=0.0, power=1.0)
    with pytest.raises(ValueError, match="finite"):
        n_to_decide(np.array([1.0, np.nan]), threshold=0.0)
    with pytest.raises(ValueError, match="n >= 2"):
        t_power(1.0, 1)
