"""AUC-sPRO: hand-made channels, a slow reference that visits every threshold, and AUPRO as a special case."""

from itertools import pairwise

import numpy as np
import pytest

from mechlab.errors import MechlabError
from mechlab.metrics.region import aupro, labelled
from mechlab.metrics.spro import Channel, auc_spro, saturation


def reference(maps, channels, limit):
    """Clipped overlap of each channel and false-positive rate at every distinct score, joined by lines."""
    normal = []
    for values, own in zip(maps, channels, strict=True):
        found = np.zeros(values.shape, bool)
        for channel in own:
            found |= channel.mask
        normal += values[~found].tolist()
    curve = [(0.0, 0.0)]
    for threshold in sorted(set(maps.ravel().tolist()), reverse=True):
        overlaps = [
            min(1.0, (maps[item][channel.mask] >= threshold).sum() / channel.saturation)
            for item, own in enumerate(channels)
            for channel in own
        ]
        curve.append((sum(score >= threshold for score in normal) / len(normal), float(np.mean(overlaps))))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(curve):
        if x1 == x0 or x0 >= limit:
            continue
        if x1 > limit:
            x1, y1 = limit, y0 + (limit - x0) / (x1 - x0) * (y1 - y0)
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def channels_of(rng, items, shape):
    """Up to three overlapping channels an item, none for the first."""
    found = [[]]
    for _ in range(items - 1):
        own = []
        for _ in range(rng.integers(1, 4)):
            mask = rng.random(shape) < 0.15
            mask[0, 0] = True
            own.append(Channel(mask, int(rng.integers(1, mask.sum() + 1))))
        found.append(own)
    return found


@pytest.mark.parametrize("limit", [0.01, 0.05, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("decimals", [0, 1, 8], ids=["heavy ties", "ties", "no ties"])
def test_equal_to_the_slow_reference(rng, limit, decimals):
    channels = channels_of(rng, 4, (9, 11))
    maps = np.round(rng.standard_normal((4, 9, 11)), decimals)
    assert auc_spro(maps, channels, limit=limit) == pytest.approx(reference(maps, channels, limit), abs=1e-12)


@pytest.mark.parametrize("limit", [0.05, 0.3])
def test_regions_that_saturate_at_their_area_give_aupro(rng, limit):
    masks = rng.random((3, 12, 12)) < 0.1
    maps = np.round(rng.standard_normal(masks.shape) + masks, 1)
    regions, count = labelled(masks)
    channels = [[] for _ in masks]
    for number in range(1, count + 1):
        item = int(np.flatnonzero((regions == number).any(axis=(1, 2)))[0])
        mask = regions[item] == number
        channels[item].append(Channel(mask, int(mask.sum())))
    assert auc_spro(maps, channels, limit=limit) == pytest.approx(aupro(maps, masks, limit=limit), abs=1e-12)


def test_a_defect_that_is_found_to_its_saturation_is_found():
    mask = np.zeros((10, 10), bool)
    mask[0] = True
    maps = np.zeros((1, 10, 10))
    maps[0, 0, :4] = 1.0  # four of ten pixels above every normal one
    maps[0, 0, 4:] = -1.0  # six below
    assert auc_spro(maps, [[Channel(mask, 4)]], limit=0.05) == pytest.approx(1.0)
    assert auc_spro(maps, [[Channel(mask, 8)]], limit=0.05) == pytest.approx(0.5)
    assert auc_spro(maps, [[Channel(mask, 10)]], limit=0.05) == pytest.approx(0.4)


def test_each_channel_counts_the_same_and_none_of_its_pixels_is_a_false_alarm():
    large, small = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
    large[:5], small[9, 9] = True, True
    maps = np.where(large, 1.0, np.where(small, -1.0, 0.0))[None]
    both = [[Channel(large, 50), Channel(small, 1)]]
    assert auc_spro(maps, both, limit=0.3) == pytest.approx(0.5)
    assert auc_spro(maps, [[Channel(large, 50), Channel(large, 1)]], limit=0.3) == pytest.approx(1.0)


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_a_constant_map_finds_what_its_false_alarms_pay_for(limit):
    mask = np.zeros((10, 10), bool)
    mask[:2] = True
    for saturated_at in (1, 7, 20):  # one threshold, from nothing to everything
        found = auc_spro(np.ones((2, 10, 10)), [[Channel(mask, saturated_at)], []], limit=limit)
        assert found == pytest.approx(limit / 2)


def test_two_defects_of_two_images_by_hand():
    masks = np.zeros((2, 4, 5), bool)
    masks[0, 0, :4], masks[1, 3, :2] = True, True  # four pixels that saturate at two; two at two
    maps = np.zeros((2, 4, 5))
    maps[0, 0, :4] = [9, 8, 3, 2]
    maps[1, 3, :2] = [7, 1]
    maps[0, 1, 0] = maps[1, 0, 0] = 5  # two of 34 normal pixels
    # thresholds 9, 8, 7: overlaps 1/2 and 0, 1 and 0, 1 and 1/2 before any false alarm: mean 3/4 from rate 0
    # to 2/34; below 5: 3 and 2 change nothing, at 1 the second is whole, and the rate is still 2/34.
    limit = 2 / 34
    channels = [[Channel(masks[0], 2)], [Channel(masks[1], 2)]]
    assert auc_spro(maps, channels, limit=limit) == pytest.approx(0.75)
    # from 2/34 on the mean is 1, up to the limit
    assert auc_spro(maps, channels, limit=2 * limit) == pytest.approx((0.75 + 1) / 2)


def test_a_monotone_change_of_scores_changes_nothing(rng):
    channels = channels_of(rng, 3, (8, 8))
    maps = np.round(rng.standard_normal((3, 8, 8)), 1)
    assert auc_spro(np.exp(maps), channels) == auc_spro(maps, channels)


@pytest.mark.parametrize(
    ("area", "threshold", "is_relative", "pixels"),
    [(101, 0.5, True, 50), (3, 0.1, True, 1), (7, 1, True, 7), (100, 30, False, 30), (20, 30, False, 20)],
    ids=["share", "less than a pixel", "whole", "pixels", "more than there are"],
)
def test_saturation_of_a_defect(area, threshold, is_relative, pixels):
    assert saturation(area, threshold, is_relative=is_relative) == pixels


@pytest.mark.parametrize(("threshold", "is_relative"), [(0, True), (1.5, True), (0, False), (2.5, False)])
def test_a_saturation_that_is_none_is_refused(threshold, is_relative):
    with pytest.raises(MechlabError, match=r"; give a (share|whole number)"):
        saturation(10, threshold, is_relative=is_relative)


def test_bad_channels_are_refused():
    mask = np.eye(4, dtype=bool)
    with pytest.raises(ValueError, match="cannot saturate at 5"):
        Channel(mask, 5)
    with pytest.raises(ValueError, match="cannot saturate at 1"):
        Channel(np.zeros((4, 4), bool), 1)
    with pytest.raises(ValueError, match="channels of 2 items"):
        auc_spro(np.zeros((1, 4, 4)), [[], []])
    with pytest.raises(ValueError, match="but a channel of"):
        auc_spro(np.zeros((1, 4, 5)), [[Channel(mask, 1)]])
    with pytest.raises(ValueError, match="at least one channel"):
        auc_spro(np.zeros((1, 4, 4)), [[]])
    with pytest.raises(ValueError, match="no false-positive rate"):
        auc_spro(np.zeros((1, 4, 4)), [[Channel(mask, 1)]], limit=0)
    with pytest.raises(ValueError, match="NaN has no rank"):
        auc_spro(np.full((1, 4, 4), np.nan), [[Channel(mask, 1)]])
