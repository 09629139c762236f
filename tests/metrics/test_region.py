"""AUPRO: exact against a slow reference that visits every threshold, and hand-made cases."""

from itertools import pairwise

import numpy as np
import pytest

from mechlab.metrics.ranking import auroc
from mechlab.metrics.region import aupro


def regions_of(mask):
    """Lists of pixels of the 8-connected regions of one mask, by flood fill."""
    left = {tuple(pixel) for pixel in np.argwhere(mask)}
    regions = []
    while left:
        region, front = [], [left.pop()]
        while front:
            row, column = front.pop()
            region.append((row, column))
            for step in [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)]:
                near = (row + step[0], column + step[1])
                if near in left:
                    left.remove(near)
                    front.append(near)
        regions.append(region)
    return regions


def reference_aupro(maps, masks, limit):
    """Overlap and false-positive rate at every distinct score, joined by lines and cut at the limit."""
    regions = [(item, region) for item, mask in enumerate(masks) for region in regions_of(mask)]
    normal = [score for item, mask in enumerate(masks) for score in maps[item][~mask].tolist()]
    curve = [(0.0, 0.0)]
    for threshold in sorted(set(maps.ravel().tolist()), reverse=True):
        rate = sum(score >= threshold for score in normal) / len(normal)
        overlaps = [np.mean([maps[item][pixel] >= threshold for pixel in region]) for item, region in regions]
        curve.append((rate, float(np.mean(overlaps))))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(curve):
        if x1 == x0 or x0 >= limit:
            continue
        if x1 > limit:
            x1, y1 = limit, y0 + (limit - x0) / (x1 - x0) * (y1 - y0)
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


@pytest.mark.parametrize("limit", [0.05, 0.3, 0.77, 1.0])
@pytest.mark.parametrize("decimals", [0, 1, 8], ids=["heavy ties", "ties", "no ties"])
@pytest.mark.parametrize("share", [0.02, 0.2], ids=["few regions", "touching regions"])
def test_equal_to_the_slow_reference(rng, limit, decimals, share):
    masks = rng.random((4, 9, 11)) < share
    masks[2] = False  # an image without a defect
    maps = np.round(rng.standard_normal(masks.shape) + masks, decimals)
    assert aupro(maps, masks, limit=limit) == pytest.approx(reference_aupro(maps, masks, limit), abs=1e-12)


def test_single_precision_maps_are_exact_too(rng):
    masks = rng.random((3, 8, 8)) < 0.1
    maps = rng.standard_normal(masks.shape).astype(np.float32)
    assert aupro(maps, masks) == pytest.approx(reference_aupro(maps, masks, 0.3), abs=1e-12)


def test_one_region_without_limit_is_the_pixel_auroc(rng):
    masks = np.zeros((3, 12, 12), bool)
    masks[1, 3:6, 2:9] = True
    maps = np.round(rng.standard_normal(masks.shape) + masks, 1)
    assert aupro(maps, masks, limit=1) == pytest.approx(auroc(maps.ravel(), masks.ravel()), abs=1e-12)


def test_a_small_defect_weighs_as_much_as_a_large_one():
    masks = np.zeros((1, 20, 20), bool)
    masks[0, :10, :10] = True
    masks[0, 15, 15] = True
    only_large = masks.astype(float)
    only_large[0, 15, 15] = -1.0  # below every normal pixel
    only_small = np.where(masks, -1.0, 0.0)
    only_small[0, 15, 15] = 1.0
    assert aupro(only_large, masks) == pytest.approx(0.5)
    assert aupro(only_small, masks) == pytest.approx(0.5)


def test_diagonal_neighbours_are_one_region():
    masks = np.zeros((1, 8, 8), bool)
    masks[0, 2, 2] = masks[0, 3, 3] = masks[0, 6, 0] = True  # two regions: a diagonal pair, and a pixel
    maps = np.zeros((1, 8, 8))
    maps[0, 2, 2] = 1.0
    maps[0, 3, 3] = maps[0, 6, 0] = -1.0
    # one half of one of two regions from the start on; had there been three regions it would be a third
    assert aupro(maps, masks) == pytest.approx(0.25)


def test_regions_do_not_join_across_images():
    masks = np.zeros((2, 6, 6), bool)
    masks[0, 2, 2] = masks[1, 2, 2] = masks[1, 2, 3] = True
    maps = np.where(masks, -1.0, 0.0)
    maps[0, 2, 2] = 1.0
    assert aupro(maps, masks) == pytest.approx(0.5)  # one of two; joined, it would be a third


def test_constant_maps_are_chance():
    masks = np.zeros((1, 10, 10), bool)
    masks[0, 0, 0] = True
    assert aupro(np.zeros((1, 10, 10)), masks, limit=0.3) == pytest.approx(0.15)


def test_perfect_maps_give_one_and_a_monotone_change_nothing(rng):
    masks = rng.random((2, 10, 10)) < 0.1
    maps = np.round(rng.standard_normal(masks.shape), 1)
    assert aupro(masks.astype(np.float64), masks) == pytest.approx(1.0)
    assert aupro(np.exp(maps), masks) == aupro(maps, masks)


@pytest.mark.parametrize("limit", [0, -0.1, 1.5, float("nan")])
def test_a_limit_that_is_no_rate_is_refused(limit):
    masks = np.eye(4, dtype=bool)[None]
    with pytest.raises(ValueError, match="no false-positive rate"):
        aupro(np.zeros((1, 4, 4)), masks, limit=limit)


@pytest.mark.parametrize("filled", [False, True])
def test_masks_of_one_kind_are_refused(filled):
    with pytest.raises(ValueError, match="at least one defective and one normal pixel"):
        aupro(np.zeros((1, 4, 4)), np.full((1, 4, 4), filled))


@pytest.mark.parametrize("place", [(0, 0, 0), (0, 0, 1)], ids=["defective", "normal"])
def test_a_nan_is_refused(place):
    maps = np.zeros((1, 4, 4))
    maps[place] = np.nan
    with pytest.raises(ValueError, match="NaN has no rank"):
        aupro(maps, np.eye(4, dtype=bool)[None])
