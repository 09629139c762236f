"""AUPIMO: hand-made images, a dense numerical integral, and what it does not depend on."""

import numpy as np
import pytest

from mechlab.metrics.pimo import aupimo
from mechlab.metrics.pimo_stream import PimoStream


def dense(maps, masks, lower, upper, points=200_000):
    """The best overlap at each of many rates, averaged over log rate."""
    normal = np.sort(maps[~masks.any(axis=(1, 2))].ravel())
    thresholds = np.unique(maps)
    rate = 1 - np.searchsorted(normal, thresholds, side="left") / normal.size
    grid = np.exp(np.linspace(np.log(lower), np.log(upper), points, endpoint=False))
    found = []
    for values, mask in zip(maps, masks, strict=True):
        if mask.any():
            inside = np.sort(values[mask])
            overlap = 1 - np.searchsorted(inside, thresholds, side="left") / inside.size
            # overlap falls with the threshold, so the best is at the first threshold that keeps the rate
            first = np.searchsorted(-rate, -grid, side="left")
            found.append(np.append(overlap, 0.0)[first].mean())
    return np.array(found)


@pytest.mark.parametrize(("lower", "upper"), [(0.01, 0.1), (0.003, 0.5), (0.02, 1.0)])
@pytest.mark.parametrize("decimals", [1, 8], ids=["ties", "no ties"])
def test_equal_to_a_dense_integral(rng, lower, upper, decimals):
    masks = np.zeros((6, 12, 12), bool)
    masks[1, 2:6, 2:6] = masks[3, 0, 0] = masks[4, :, 5] = True
    maps = np.round(rng.standard_normal(masks.shape) + 1.5 * masks, decimals)
    found = aupimo(maps, masks, lower=lower, upper=upper)
    assert found == pytest.approx(dense(maps, masks, lower, upper), abs=2e-4)


def test_an_overlap_that_begins_at_a_rate_counts_from_there_on_a_logarithmic_axis():
    masks = np.zeros((2, 10, 10), bool)
    masks[1, 0, :2] = True
    maps = np.arange(100.0).reshape(1, 10, 10).repeat(2, axis=0)
    maps[1, 0, 0] = 1000.0  # found before any false alarm
    maps[1, 0, 1] = 89.5  # found once ten normal pixels of a hundred are flagged
    assert aupimo(maps, masks, lower=0.01, upper=1.0) == pytest.approx([0.75])


def test_perfect_maps_give_one_and_constant_ones_nothing():
    masks = np.zeros((3, 10, 10), bool)
    masks[1:, 4, 4:6] = True
    assert aupimo(masks.astype(float), masks, lower=0.01, upper=0.1) == pytest.approx([1.0, 1.0])
    assert aupimo(np.zeros(masks.shape), masks, lower=0.01, upper=0.1).tolist() == [0.0, 0.0]


def test_each_image_is_judged_alone_and_against_normal_images_alone(rng):
    masks = np.zeros((4, 12, 12), bool)
    masks[2, 3, 3:7] = masks[3, 8, 1] = True
    maps = rng.standard_normal(masks.shape) + 2 * masks
    both = aupimo(maps, masks, lower=0.01, upper=0.1)
    louder = maps.copy()
    louder[2][~masks[2]] += 100.0  # false alarms in a defective image
    assert aupimo(louder, masks, lower=0.01, upper=0.1) == pytest.approx(both)
    assert aupimo(maps[:3], masks[:3], lower=0.01, upper=0.1) == pytest.approx(both[:1])
    assert aupimo(np.exp(maps), masks, lower=0.01, upper=0.1) == pytest.approx(both)


def test_bad_input_is_refused():
    masks = np.zeros((2, 10, 10), bool)
    masks[1, 0, 0] = True
    maps = np.zeros(masks.shape)
    with pytest.raises(ValueError, match="cannot tell a rate of 1e-05; give at least 100000"):
        aupimo(maps, masks)
    with pytest.raises(ValueError, match="no rates"):
        aupimo(maps, masks, lower=0.1, upper=0.01)
    with pytest.raises(ValueError, match="one defective item"):
        aupimo(maps[:1], masks[:1], lower=0.01, upper=0.1)
    with pytest.raises(ValueError, match="0 pixels of normal items"):
        aupimo(maps[1:], masks[1:], lower=0.01, upper=0.1)
    with pytest.raises(ValueError, match="NaN has no rank"):
        aupimo(np.full(masks.shape, np.nan), masks, lower=0.01, upper=0.1)


@pytest.fixture
def images(rng):
    masks = np.zeros((6, 40, 40), bool)
    masks[1, 2:6, 2:6] = masks[3, 0, 0] = masks[4, :, 5] = True
    return (rng.standard_normal(masks.shape) + 1.5 * masks).astype(np.float32), masks


def streamed(maps, masks):
    stream = PimoStream()
    for item in range(len(maps)):
        stream.add(maps[item : item + 1], masks[item : item + 1])
    return stream


@pytest.mark.parametrize("outlier", [None, 1e6])
def test_streamed_scores_are_the_exact_ones(images, outlier):
    maps, masks = images
    if outlier is not None:
        maps[1, 3, 3] = outlier
    exact = aupimo(maps, masks, lower=0.002, upper=0.2)
    assert streamed(maps, masks).aupimo(lower=0.002, upper=0.2) == pytest.approx(exact, abs=1e-6)


def test_streams_of_two_ranks_add_up(images):
    maps, masks = images
    first, second = streamed(maps[:3], masks[:3]), streamed(maps[3:] * 1, masks[3:])
    whole = streamed(maps, masks).aupimo(lower=0.002, upper=0.2)
    assert first.merged(second).aupimo(lower=0.002, upper=0.2) == pytest.approx(whole, abs=1e-12)
    turned = second.merged(first).aupimo(lower=0.002, upper=0.2)
    assert sorted(turned) == pytest.approx(sorted(whole), abs=1e-12)


def test_bad_streams_are_refused(images):
    maps, masks = images
    with pytest.raises(ValueError, match="cannot tell a rate of 1e-05"):
        streamed(maps, masks).aupimo()
    with pytest.raises(ValueError, match="one defective item"):
        streamed(maps, np.zeros_like(masks)).aupimo(lower=0.01, upper=0.1)
    with pytest.raises(ValueError, match="NaN has no rank"):
        streamed(np.full((1, 4, 4), np.nan), np.zeros((1, 4, 4), bool))
