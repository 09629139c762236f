import numpy as np
import pytest

from mechlab.metrics.agreement import agreement

ONE = np.array([True, True, False, False])


@pytest.mark.parametrize(
    ("other", "share", "chance", "kappa"),
    [
        (ONE, 1.0, 0.5, 1.0),
        (~ONE, 0.0, 0.5, -1.0),
        (np.array([True, False, True, False]), 0.5, 0.5, 0.0),
        (np.array([True, True, True, False]), 0.75, 0.5, 0.5),
    ],
    ids=["equal", "opposite", "independent", "one apart"],
)
def test_agreement_stands_beside_what_chance_gives(other, share, chance, kappa):
    found = agreement(ONE, other)
    assert found == (share, chance)
    assert found.kappa == pytest.approx(kappa)


def test_it_is_the_same_from_either_side_and_in_any_order(rng):
    one, other = rng.random(100) < 0.3, rng.random(100) < 0.8
    order = rng.permutation(100)
    assert agreement(one, other) == pytest.approx(agreement(other, one))
    assert agreement(one, other) == pytest.approx(agreement(one[order], other[order]))


def test_independent_detectors_agree_by_chance_and_no_more(rng):
    one, other = rng.random(20000) < 0.1, rng.random(20000) < 0.2
    found = agreement(one, other)
    assert found.chance == pytest.approx(0.1 * 0.2 + 0.9 * 0.8, abs=0.01)
    assert found.share == pytest.approx(found.chance, abs=0.01) and abs(found.kappa) < 0.03


def test_two_that_always_say_the_same_word_have_no_kappa():
    assert agreement(np.ones(3, bool), np.ones(3, bool)) == (1.0, 1.0)
    assert agreement(np.ones(3, bool), np.ones(3, bool)).kappa is None


def test_nothing_to_decide_is_refused():
    with pytest.raises(ValueError, match="0 and 0 decisions"):
        agreement(np.zeros(0, bool), np.zeros(0, bool))
