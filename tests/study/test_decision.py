import numpy as np
import pytest
from scipy.stats import binom

from mechlab.study.decision import decide, describe, needed, side, span


@pytest.mark.parametrize(
    ("mean", "claim", "verdict"),
    [(2.0, "above", "supported"), (0.0, "above", "refuted"), (1.0, "above", "undecided"),
     (2.0, "below", "refuted"), (0.0, "below", "supported"), (1.0, "below", "undecided")],
)  # fmt: skip
def test_a_verdict_comes_out_three_ways(mean, claim, verdict):
    values = mean + 0.1 * np.array([-2.0, -1, 0, 1, 2, -1, 1])
    found = decide(values, threshold=1.0, claim=claim, least_n=6)
    assert found.verdict == verdict
    assert found.effect == pytest.approx(values.mean())
    assert found.interval[0] < found.effect < found.interval[1]
    assert found.n == 7


def test_an_undecided_verdict_names_the_n_that_would_decide(rng):
    values = 1.1 + rng.standard_normal(10)
    found = decide(values, threshold=1.0, claim="above", least_n=6)
    assert found.verdict == "undecided"
    assert found.n_to_decide > 10
    assert decide(values + 5, threshold=1.0, claim="above", least_n=6).n_to_decide is None


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_too_few_replicates_never_decide(n):
    found = decide(100.0 + np.arange(n), threshold=1.0, claim="above", least_n=6)
    assert found.verdict == "undecided"
    assert found.n_to_decide == 6
    assert "6" in found.reason and str(n) in found.reason


def test_moving_values_and_threshold_together_changes_nothing(rng):
    values = rng.standard_normal(8) + 0.5
    one = decide(values, threshold=0.0, claim="above", least_n=6)
    other = decide(values + 3.0, threshold=3.0, claim="above", least_n=6)
    assert (one.verdict, one.n_to_decide) == (other.verdict, other.n_to_decide)
    assert one.effect == pytest.approx(other.effect - 3)


@pytest.mark.parametrize("n", [6, 12])
def test_a_mean_at_the_threshold_is_decided_no_more_often_than_one_time_in_twenty(n):
    repeats, rng = 600, np.random.default_rng(1)
    decided = sum(
        side(span(rng.standard_normal(n)), threshold=0.0, claim="above") != "undecided"
        for _ in range(repeats)
    )
    assert binom.ppf(0.001, repeats, 0.05) <= decided <= binom.ppf(0.999, repeats, 0.05)


def test_an_interval_that_touches_the_threshold_decides_nothing():
    assert side((1.0, 2.0), threshold=1.0, claim="above") == "undecided"
    assert side((0.0, 1.0), threshold=1.0, claim="above") == "undecided"


def test_a_table_row_without_replicates_is_empty():
    assert describe(np.empty(0)) == {"mean": None, "low": None, "high": None, "n": 0}
    assert describe(np.array([2.0])) == {"mean": 2.0, "low": None, "high": None, "n": 1}


def test_a_higher_level_asks_for_more():
    values = np.array([0.2, 0.5, -0.1, 0.6, 0.3, 0.9])
    assert span(values, level=0.99)[0] < span(values)[0]
    assert needed(values, threshold=0.0, least_n=2, level=0.99) > needed(values, threshold=0.0, least_n=2)


def test_no_n_decides_about_a_mean_on_the_threshold():
    assert needed(np.array([-1.0, 1.0]), threshold=0.0, least_n=6) is None
