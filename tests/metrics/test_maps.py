"""Upsampling is torch's bilinear, smoothing is SciPy's Gaussian; constants and means survive."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from mechlab.metrics.maps import resampled, smooth, upsample


@pytest.mark.parametrize("grid", [(14, 14), (28, 28), (7, 5), (1, 3), (1, 1), (40, 33)])
@pytest.mark.parametrize("size", [1, 24, 224])
def test_upsampling_equals_torch(rng, grid, size):
    maps = rng.standard_normal((3, *grid))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(maps)[:, None], size=(size, size), mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(upsample(maps, size), expected[:, 0].numpy(), atol=1e-13)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_single_precision_stays_single_and_close(rng, kind):
    maps = rng.standard_normal((2, 9, 9)).astype(kind)
    found = upsample(maps, 30)
    assert found.dtype == smooth(maps, 1.0).dtype == np.float32
    np.testing.assert_allclose(found, upsample(maps.astype(np.float64), 30), atol=2e-6)


def test_maps_on_another_grid_are_torchs_and_on_their_own_are_themselves(rng):
    maps = rng.standard_normal((3, 8, 12))
    for grid in ((4, 6), (16, 9), (8, 12)):
        expected = torch.nn.functional.interpolate(
            torch.from_numpy(maps)[:, None], size=grid, mode="bilinear", align_corners=False
        )
        np.testing.assert_allclose(resampled(maps, grid), expected[:, 0].numpy(), atol=1e-13)
    assert resampled(maps, (8, 12)) is maps
    halved = resampled(maps, (4, 6))
    np.testing.assert_allclose(halved, maps.reshape(3, 4, 2, 6, 2).mean(axis=(2, 4)), atol=1e-13)
    with pytest.raises(ValueError, match="cannot resample maps"):
        resampled(maps, (0, 6))


def test_upsampling_to_the_same_size_changes_nothing(rng):
    maps = rng.standard_normal((2, 6, 6))
    np.testing.assert_array_equal(upsample(maps, 6), maps)


def test_upsampling_stays_within_the_bounds_of_the_patches(rng):
    maps = rng.standard_normal((4, 5, 8))
    found = upsample(maps, 50)
    assert found.min() >= maps.min() - 1e-12
    assert found.max() <= maps.max() + 1e-12


@pytest.mark.parametrize("sigma", [0.5, 1, 4.0, 30.0])
def test_smoothing_equals_scipy(rng, sigma):
    maps = rng.standard_normal((3, 20, 31))
    expected = np.stack([gaussian_filter(one, sigma, mode="reflect") for one in maps])
    np.testing.assert_allclose(smooth(maps, sigma), expected, atol=1e-13)


@pytest.mark.parametrize("sigma", [0, 0.7, 4.0])
def test_a_constant_map_stays_constant(sigma):
    maps = np.full((1, 12, 15), 3.7)
    np.testing.assert_allclose(smooth(maps, sigma), maps, rtol=1e-13)
    np.testing.assert_allclose(upsample(maps, 40), 3.7, rtol=1e-13)


def test_smoothing_keeps_the_mean(rng):
    maps = rng.standard_normal((3, 17, 13))
    np.testing.assert_allclose(smooth(maps, 2.5).mean(axis=(1, 2)), maps.mean(axis=(1, 2)), atol=1e-13)


def test_sigma_zero_is_the_identity(rng):
    maps = rng.standard_normal((2, 5, 5))
    np.testing.assert_array_equal(smooth(maps, 0), maps)


def test_items_do_not_mix(rng):
    maps = rng.standard_normal((4, 10, 10))
    changed = maps.copy()
    changed[2] += 1.0
    alone = [0, 1, 3]
    np.testing.assert_array_equal(smooth(changed, 2.0)[alone], smooth(maps, 2.0)[alone])
    np.testing.assert_array_equal(upsample(changed, 30)[alone], upsample(maps, 30)[alone])


def test_impossible_sizes_and_widths_are_refused():
    with pytest.raises(ValueError, match="cannot resize maps"):
        upsample(np.zeros((1, 4, 4)), 0)
    with pytest.raises(ValueError, match="cannot resize maps"):
        upsample(np.zeros((1, 0, 4)), 8)
    for sigma in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="no width in pixels"):
            smooth(np.zeros((1, 4, 4)), sigma)
