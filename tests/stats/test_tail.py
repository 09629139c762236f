import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechlab.errors import MechlabError
from mechlab.stats.tail import (
    DISTANCES,
    TailLoss,
    amplification_values,
    distance_profile,
    random_tails,
    reweighted_share,
    tail_of,
    tail_share,
    weight_share,
)


def test_loss_names_are_read():
    assert TailLoss.named("mean") == TailLoss(0.0, 1.0)
    assert TailLoss.named("tail:0.7:0.02") == TailLoss(0.7, 0.02)


@pytest.mark.parametrize(
    "name", ["tail", "tail:0.7", "tail:2:0.1", "tail:0.7:0", "head:0.7:0.02", "tail:a:b", ""]
)
def test_other_loss_names_are_refused(name):
    with pytest.raises(MechlabError, match="no loss with a tail; allowed are 'mean' and 'tail:"):
        TailLoss.named(name)


@pytest.mark.parametrize(
    ("grid", "ratio", "count"), [((28, 28), 0.02, 15), ((14, 14), 0.02, 3), ((3, 3), 0.02, 1)]
)
def test_the_tail_has_the_published_number_of_patches(rng, grid, ratio, count):
    scores = rng.standard_normal(grid)
    mask = tail_of(scores, ratio=ratio)
    assert mask.sum() == count
    assert scores[mask].min() > scores[~mask].max()


def test_of_equal_scores_the_first_in_raster_order_is_tail():
    assert np.flatnonzero(tail_of(np.zeros((4, 5)), ratio=0.1)).tolist() == [0, 1]


@pytest.mark.parametrize("ratio", [0.0, 1.5, -0.1])
def test_a_ratio_that_is_no_share_is_refused(ratio):
    with pytest.raises(ValueError, match="ratio must lie above 0"):
        tail_of(np.zeros((2, 2)), ratio=ratio)


def test_scores_that_are_no_number_are_refused():
    with pytest.raises(ValueError, match="NaN has no rank"):
        tail_of(np.array([[1.0, np.nan]]), ratio=0.5)


@pytest.mark.parametrize("bad", [[[1.0, -1.0]], [[np.inf, 1.0]], [[0.0, 0.0]]])
def test_what_cannot_be_shared_out_is_refused(bad):
    with pytest.raises(ValueError, match="finite values that are not negative and not all zero"):
        tail_share(np.array(bad), np.array([[True, False]]))


@given(st.floats(0, 1), st.integers(2, 1000), st.floats(0.001, 1))
def test_equally_steep_patches_get_the_share_of_the_weights(weight, patches, ratio):
    tail = max(1, int(patches * ratio))
    equal = weight_share(weight, patches=patches, tail=tail)
    assert reweighted_share(tail / patches, weight, patches=patches, tail=tail) == pytest.approx(equal)


@given(st.floats(0, 1), st.integers(0, 10_000))
def test_reweighting_is_what_the_loss_does_to_patches_that_do_not_act_on_others(weight, seed):
    own = np.random.default_rng(seed).uniform(0.1, 1, (5, 5))
    tail = tail_of(own, ratio=0.2)
    weights = (1 - weight) / own.size + weight / tail.sum() * tail
    expected = tail_share(weights * own, tail)
    found = reweighted_share(tail_share(own, tail), weight, patches=own.size, tail=int(tail.sum()))
    assert found == pytest.approx(expected)


def test_random_tails_of_equal_patches_are_exactly_the_null():
    null = random_tails(np.full((6, 6), 0.3), weight=0.7, tail=4, draws=10, seed=0)
    np.testing.assert_allclose(null, 0.0, atol=1e-12)


def test_no_patch_is_drawn_twice_into_a_random_tail(rng):
    null = random_tails(rng.exponential(size=(4, 4)), weight=0.3, tail=16, draws=5, seed=0)
    np.testing.assert_allclose(null, 0.0, atol=1e-12)


def test_random_tails_average_a_little_below_the_null(rng):
    null = random_tails(rng.exponential(size=(14, 14)), weight=0.7, tail=3, draws=400, seed=0)
    assert -0.2 < null.mean() < 0.0


def test_distances_are_counted_in_king_moves():
    tail = np.zeros((21, 21), dtype=bool)
    tail[10, 10] = True
    rows, columns = np.indices(tail.shape)
    moves = np.maximum(abs(rows - 10), abs(columns - 10))
    profile = distance_profile(moves.astype(float), tail)
    means = [
        0,
        1,
        2,
        np.mean(moves[(moves >= 3) & (moves <= 4)]),
        np.mean(moves[(moves >= 5) & (moves <= 8)]),
    ]
    assert len(profile) == len(DISTANCES)
    np.testing.assert_allclose(profile[:5], np.array(means) / moves.mean())


def test_a_bin_without_patches_has_no_value():
    tail = np.zeros((3, 3), dtype=bool)
    tail[1, 1] = True
    profile = distance_profile(np.ones((3, 3)), tail)
    assert np.isnan(profile[2:]).all()
    np.testing.assert_allclose(profile[:2], 1.0)


def test_amplification_of_images_that_are_alike_is_the_plain_ratio():
    alike = {"tail_1": 8.0, "other_1": 0.1, "tail_0": 2.0, "other_0": 1.0}
    values = amplification_values({name: np.full(5, value) for name, value in alike.items()})
    np.testing.assert_allclose(np.exp(values), 40.0)


def test_without_a_path_between_patches_there_is_no_amplification():
    means = {"tail_1": np.ones(4), "other_1": np.zeros(4), "tail_0": np.ones(4), "other_0": np.ones(4)}
    assert amplification_values(means) is None
