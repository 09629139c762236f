"""Laws of the score aggregations (M18), and refusals."""

import numpy as np
import pytest
import torch

from mechlab.errors import MechlabError
from mechlab.metrics.aggregation import DEFAULTS, MODES, aggregate, refuse_few

OF_A_MAP = set(MODES) - {"adaptive"}  # which a task's strength belongs to


@pytest.fixture
def maps(rng):
    return rng.standard_normal((5, 14, 14))


def test_percentile_one_max_and_top_one_are_the_same(maps):
    highest = maps.max(axis=(1, 2))
    for mode, value in [("max", None), ("percentile", 1), ("top_k", 1)]:
        np.testing.assert_array_equal(aggregate(maps, mode, value), highest)


def test_all_patches_are_the_mean(maps):
    mean = maps.mean(axis=(1, 2))
    for mode, value in [("mean", None), ("top_k_percent", 1.0), ("top_k", 196)]:
        np.testing.assert_allclose(aggregate(maps, mode, value), mean, atol=1e-14)


def test_top_k_is_the_mean_of_the_k_highest(maps):
    expected = torch.topk(torch.from_numpy(maps).flatten(1), 10)[0].mean(1).numpy()
    np.testing.assert_allclose(aggregate(maps, "top_k", 10), expected, atol=1e-14)


def test_percentile_is_torchs_linear_quantile(maps):
    expected = torch.quantile(torch.from_numpy(maps).flatten(1), 0.97, dim=1).numpy()
    np.testing.assert_allclose(aggregate(maps, "percentile", 0.97), expected, atol=1e-14)


@pytest.mark.parametrize(("share", "count"), [(0.05, 9), (0.001, 1), (0.5, 98), (57 / 196, 57)])
def test_a_share_is_rounded_down_to_one_patch_at_least(maps, share, count):
    np.testing.assert_allclose(aggregate(maps, "top_k_percent", share), aggregate(maps, "top_k", count))


def test_defaults_hold_where_no_value_is_given(maps):
    expected = {"percentile": 0.99, "top_k": 10, "top_k_percent": 0.05, "spatial_cluster": 0.5}
    assert expected | {"attention": 1.0} == DEFAULTS
    for mode, value in DEFAULTS.items():
        np.testing.assert_array_equal(aggregate(maps, mode), aggregate(maps, mode, value))


@pytest.mark.parametrize("mode", sorted(OF_A_MAP - {"spatial_cluster"}))  # which looks at places
def test_shift_scale_and_order_of_patches(maps, rng, mode):
    found = aggregate(maps, mode)
    np.testing.assert_allclose(aggregate(2 * maps + 3, mode), 2 * found + 3, atol=1e-12)
    mixed = rng.permuted(maps.reshape(5, -1), axis=1).reshape(maps.shape)
    np.testing.assert_allclose(aggregate(mixed, mode), found, atol=1e-14)
    np.testing.assert_allclose(aggregate(maps[::-1], mode), found[::-1], atol=1e-14)


def test_the_maps_are_left_as_they_were(maps):
    before = maps.copy()
    for mode in OF_A_MAP:
        aggregate(maps, mode)
    np.testing.assert_array_equal(maps, before)


def test_single_precision_is_averaged_in_double(rng):
    maps = rng.standard_normal((2, 8, 8)).astype(np.float32)
    assert aggregate(maps, "mean").dtype == np.float64


def test_an_unknown_mode_names_the_near_one(maps):
    with pytest.raises(MechlabError, match="no aggregation named 'top-p'"):
        aggregate(maps, "top-p")
    with pytest.raises(MechlabError, match="Did you mean 'percentile'"):
        aggregate(maps, "percentil")


@pytest.mark.parametrize("mode", ["max", "mean"])
def test_a_value_that_would_be_ignored_is_refused(maps, mode):
    with pytest.raises(MechlabError, match="takes no value, but 3 was given"):
        aggregate(maps, mode, 3)


@pytest.mark.parametrize(
    ("mode", "value", "allowed"),
    [
        ("percentile", 99, "a quantile from 0 to 1"),
        ("percentile", float("nan"), "a quantile from 0 to 1"),
        ("top_k", 0, "a whole number from 1 to 196"),
        ("top_k", 197, "a whole number from 1 to 196"),
        ("top_k", 2.5, "a whole number from 1 to 196"),
        ("top_k", float("inf"), "a whole number from 1 to 196"),
        ("top_k_percent", 0, "a share above 0"),
        ("top_k_percent", 5, "a share above 0"),
    ],
)
def test_a_value_out_of_range_is_refused(maps, mode, value, allowed):
    with pytest.raises(MechlabError, match=allowed):
        aggregate(maps, mode, value)


@pytest.mark.parametrize(
    ("mode", "value", "sentence"),
    [
        ("top_k", 10.0, "'top_k' was given 10; give a whole number from 1 to 9, the patches of a map"),
        ("top_k", None, "'top_k' averages 10 patches, and a map has 9; give top_k with a value up to 9"),
        (
            "spatial_cluster",
            0.5,
            "'spatial_cluster' averages 10 patches, and a map has 9; give top_k with a value up to 9",
        ),
        ("percentile", 2.0, "'percentile' was given 2; give a quantile from 0 to 1"),
    ],
)
def test_what_averages_more_patches_than_there_are_is_refused_without_a_map(mode, value, sentence):
    with pytest.raises(MechlabError, match=sentence):
        refuse_few(mode, value, patches=9)
    with pytest.raises(MechlabError, match=sentence):
        aggregate(np.zeros((1, 3, 3)), mode, value)


@pytest.mark.parametrize("mode", MODES)
def test_what_fits_is_not_refused(mode):
    refuse_few(mode, DEFAULTS.get(mode), patches=10)
    if mode != "adaptive":
        assert aggregate(np.zeros((1, 2, 5)), mode, DEFAULTS.get(mode)).shape == (1,)
    with pytest.raises(MechlabError, match="no aggregation named 'middle'"):
        refuse_few("middle", None, patches=10)
