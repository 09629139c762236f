"""Laws of the spatial cluster score (M18): what stands together counts for more than what is scattered."""

import numpy as np
import pytest

from mechlab.errors import MechlabError
from mechlab.metrics.aggregation import DEFAULTS, aggregate
from mechlab.metrics.class_metrics import Scoring
from mechlab.metrics.clustering import cluster_ratio


@pytest.fixture
def noise(rng):
    return rng.standard_normal((6, 28, 28))


def with_square(maps, *, height=10.0, row=5, column=9, side=4):
    changed = maps.copy()
    changed[:, row : row + side, column : column + side] += height
    return changed


def scattered(maps, *, height=10.0):
    changed = maps.copy()
    changed[:, 2:26:6, 2:26:6] += height  # 16 patches, no two of them neighbours
    return changed


def test_weight_zero_is_the_top_ten(noise):
    for maps in (noise, with_square(noise), scattered(noise)):
        np.testing.assert_array_equal(aggregate(maps, "spatial_cluster", 0), aggregate(maps, "top_k", 10))


def test_a_square_is_a_cluster_and_its_score_is_the_closed_form():
    maps = with_square(np.zeros((1, 28, 28)))
    assert cluster_ratio(maps)[0] == 1.0
    assert aggregate(maps, "spatial_cluster", 0.3)[0] == pytest.approx(10 * 1.3)
    assert aggregate(maps, "spatial_cluster")[0] == pytest.approx(10 * (1 + DEFAULTS["spatial_cluster"]))


def test_a_line_beside_a_square_is_half_a_cluster():
    maps = with_square(np.zeros((1, 28, 28)), side=3)
    maps[0, 20, 4:13] = 10.0
    assert cluster_ratio(maps)[0] == 0.5


def test_a_planted_cluster_scores_above_the_same_patches_scattered(noise):
    together, apart = with_square(noise), scattered(noise)
    assert (cluster_ratio(together) > 0.5).all()
    assert (cluster_ratio(apart) == 0).all()
    np.testing.assert_array_equal(aggregate(apart, "spatial_cluster", 2.0), aggregate(apart, "top_k", 10))
    gain = aggregate(together, "spatial_cluster", 0.5) / aggregate(together, "top_k", 10)
    assert (gain > 1.25).all()


def test_noise_is_no_cluster(rng):
    assert cluster_ratio(rng.standard_normal((200, 28, 28))).mean() < 0.02


def test_a_defect_in_a_corner_is_a_cluster():
    assert cluster_ratio(with_square(np.zeros((1, 9, 9)), row=0, column=0, side=2))[0] == 1.0


def test_a_constant_image_has_no_cluster():
    assert cluster_ratio(np.full((2, 12, 12), 0.1)).tolist() == [0.0, 0.0]


def test_a_cluster_raises_a_negative_score_too(noise):
    below = with_square(noise) - 100
    assert (aggregate(below, "spatial_cluster", 0.5) > aggregate(below, "top_k", 10)).all()


def test_shift_scale_turns_and_order_of_images(noise):
    maps = with_square(noise)
    ratio = cluster_ratio(maps)
    np.testing.assert_array_equal(cluster_ratio(4 * maps + 3), ratio)
    np.testing.assert_allclose(aggregate(4 * maps, "spatial_cluster"), 4 * aggregate(maps, "spatial_cluster"))
    np.testing.assert_array_equal(cluster_ratio(np.rot90(maps, axes=(1, 2))), ratio)
    np.testing.assert_array_equal(cluster_ratio(maps[:, :, ::-1]), ratio)
    np.testing.assert_array_equal(cluster_ratio(maps[::-1]), ratio[::-1])


def test_images_do_not_mix(noise):
    ratio = cluster_ratio(with_square(noise))
    for index in range(len(noise)):
        one = noise.copy()
        one[index] = with_square(noise)[index]
        expected = cluster_ratio(noise)
        expected[index] = ratio[index]
        np.testing.assert_array_equal(cluster_ratio(one), expected)


def test_pixel_maps_do_not_depend_on_the_aggregation(noise):
    one, other = (
        Scoring(aggregation=mode, value=value, sigma=2.0)
        for mode, value in (("top_k", 10.0), ("spatial_cluster", 3.0))
    )
    np.testing.assert_array_equal(
        one.pixel_maps(noise, size=56, class_name="a"), other.pixel_maps(noise, size=56, class_name="a")
    )


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_a_weight_below_zero_is_refused(noise, weight):
    with pytest.raises(MechlabError, match="a weight of 0 or more"):
        aggregate(noise, "spatial_cluster", weight)


def test_a_map_without_ten_patches_is_refused():
    with pytest.raises(MechlabError, match="averages 10 patches, and a map has 9; give top_k"):
        aggregate(np.zeros((1, 3, 3)), "spatial_cluster")
