"""Weights that follow the scores: from the mean to the highest patch."""

import numpy as np
import pytest

from mechlab.errors import MechlabError
from mechlab.metrics.aggregation import aggregate
from mechlab.metrics.attention import attended
from mechlab.metrics.class_metrics import Scoring


@pytest.fixture
def maps(rng):
    return rng.normal(50, 20, (6, 7, 5))


def test_strength_leads_from_the_mean_to_the_highest(maps):
    np.testing.assert_allclose(attended(maps, 0.0), maps.mean(axis=(1, 2)))
    np.testing.assert_allclose(attended(maps, 1e4), maps.max(axis=(1, 2)))
    np.testing.assert_array_equal(attended(maps, np.inf), maps.max(axis=(1, 2)))
    found = np.stack([attended(maps, strength) for strength in (0, 0.5, 1, 4, 16)])
    assert (np.diff(found, axis=0) > 0).all()


def test_two_patches_in_closed_form():
    one = np.array([[[0.0, 2.0]]])  # z is -1 and 1
    share = 1 / (1 + np.exp(-2 * 3.0))
    np.testing.assert_allclose(attended(one, 3.0), [2 * share])


def test_scale_and_shift_of_the_scores_do_not_matter(maps):
    np.testing.assert_allclose(attended(7 * maps - 900, 2.0), 7 * attended(maps, 2.0) - 900)


def test_a_constant_image_has_its_constant():
    np.testing.assert_array_equal(attended(np.full((2, 3, 3), 4.5), 2.0), [4.5, 4.5])


def test_each_map_has_the_strength_of_its_expert(maps):
    experts = np.array([0, 1, 0, 1, 1, 0])
    scoring = Scoring(aggregation="adaptive", value=None, sigma=4.0, strengths=(0.0, np.inf))
    expected = np.where(experts == 0, maps.mean(axis=(1, 2)), maps.max(axis=(1, 2)))
    np.testing.assert_allclose(scoring.image_scores(maps, experts), expected)
    with pytest.raises(ValueError, match="need the task whose expert"):
        scoring.image_scores(maps)
    with pytest.raises(ValueError, match="needs the strength"):
        aggregate(maps, "adaptive")


@pytest.mark.parametrize(("mode", "value", "sentence"), [
    ("attention", -1.0, "give a strength of 0 or more"),
    ("adaptive", 2.0, "takes no value"),
])  # fmt: skip
def test_values_out_of_range_are_refused(maps, mode, value, sentence):
    with pytest.raises(MechlabError, match=sentence):
        aggregate(maps, mode, value)
