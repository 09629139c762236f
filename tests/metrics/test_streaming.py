"""Streaming pixel metrics: exact where there is a bin for each score, close elsewhere, and additive."""

import numpy as np
import pytest

from mechlab.metrics.bins import Bins, ordered_bits
from mechlab.metrics.pixel import pixel_ap, pixel_auroc
from mechlab.metrics.region import aupro
from mechlab.metrics.spro import Channel, auc_spro
from mechlab.metrics.streaming import PixelStream


@pytest.fixture
def images(rng):
    masks = np.zeros((12, 64, 64), bool)
    for item in range(0, 12, 2):
        row, column = rng.integers(0, 40, 2)
        masks[item, row : row + 9, column : column + 17] = True
    return (rng.standard_normal(masks.shape) + 1.2 * masks).astype(np.float32), masks


def streamed(maps, masks, **options):
    stream = PixelStream(**options)
    stream.add(maps, masks)
    return stream


def test_integers_keep_the_order_of_floats():
    values = np.array([-np.inf, -1e30, -2.5, -1e-45, -0.0, 0.0, 1e-45, 3.0, 3.0000002, np.inf], np.float32)
    bits = ordered_bits(values).astype(np.int64)
    assert bits[4] == bits[5]
    assert (np.diff(np.delete(bits, 4)) > 0).all()


def test_few_distinct_scores_are_exact(images):
    maps, masks = np.round(images[0]), images[1]
    stream = streamed(maps, masks)
    assert stream.auroc() == pytest.approx(pixel_auroc(maps, masks), abs=1e-13)
    assert stream.average_precision() == pytest.approx(pixel_ap(maps, masks), abs=1e-13)
    for limit in (0.01, 0.3, 1.0):
        assert stream.area(limit) == pytest.approx(aupro(maps, masks, limit=limit), abs=1e-12)


@pytest.mark.parametrize("outlier", [None, 1e6, -1e6])
@pytest.mark.parametrize("shape", ["around zero", "narrow and far", "many decades"])
def test_close_to_exact_whatever_the_range(images, shape, outlier):
    maps, masks = images
    maps = {"around zero": maps, "narrow and far": 11 + maps / 50, "many decades": np.exp(3 * maps)}[shape]
    if outlier is not None:
        maps = maps.copy()
        maps[3, 5, 5] = outlier
    stream = streamed(maps, masks)
    assert stream.auroc() == pytest.approx(pixel_auroc(maps, masks), abs=1e-6)
    assert stream.area(0.3) == pytest.approx(aupro(maps, masks), abs=3e-6)  # of 50,000 pixels only
    assert stream.average_precision() == pytest.approx(pixel_ap(maps, masks), abs=1e-4)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_batches_and_ranks_add_up_in_any_order(images, order):
    maps, masks = images
    maps = maps * np.array([1e-3, 1.0, 50.0], np.float32).repeat(4)[:, None, None]  # each its own range
    parts = [streamed(maps[start : start + 4], masks[start : start + 4]) for start in (0, 4, 8)]
    first, second, third = (parts[number] for number in order)
    left, right = first.merged(second).merged(third), first.merged(second.merged(third))
    whole = streamed(maps, masks)
    for found in (left, right):
        assert found.bins.fine == whole.bins.fine
        for name in ("pixels", "defective"):
            assert np.array_equal(found.bins.ascending(name), whole.bins.ascending(name))
        assert np.allclose(found.bins.ascending("~overlap"), whole.bins.ascending("~overlap"), rtol=1e-12)
        assert found.auroc() == whole.auroc()
        assert found.area(0.3) == pytest.approx(whole.area(0.3), abs=1e-12)


def test_bins_do_not_depend_on_the_order_of_images(images):
    maps, masks = images
    forwards, backwards = streamed(maps, masks), streamed(maps[::-1], masks[::-1])
    assert np.array_equal(forwards.bins.ascending("pixels"), backwards.bins.ascending("pixels"))


def test_cells_stay_within_their_number(rng):
    bins = Bins(("pixels",), cells=1 << 16)
    values = np.exp(15 * rng.standard_normal(20_000)).astype(np.float32)
    for start in range(0, len(values), 1000):
        bins.add("pixels", bins.cells_of(ordered_bits(values[start : start + 1000])))
    assert len(bins.trunks) << bins.fine <= 1 << 16
    assert bins.ascending("pixels").sum() == len(values)


@pytest.mark.parametrize("value", [0.0, -3.5, 1e30, np.inf])
def test_a_constant_map_is_chance(images, value):
    stream = streamed(np.full_like(images[0], value), images[1])
    assert stream.auroc() == 0.5
    assert stream.average_precision() == pytest.approx(images[1].mean())
    assert stream.area(0.3) == pytest.approx(0.15)


def test_channels_give_auc_spro(images, rng):
    maps, masks = np.round(images[0], 1), images[1]
    channels = [[Channel(mask, int(mask.sum()) // 3)] if mask.any() else [] for mask in masks]
    stream = PixelStream()
    for item in range(len(maps)):
        stream.add_channels(maps[item : item + 1], channels[item : item + 1])
    for limit in (0.05, 0.3):
        assert stream.area(limit) == pytest.approx(auc_spro(maps, channels, limit=limit), abs=1e-12)


def test_double_precision_is_rounded_to_single(images):
    maps, masks = images
    wide = streamed(maps.astype(np.float64) * (1 + 1e-12), masks)
    assert wide.auroc() == streamed(maps, masks).auroc()


def test_bad_input_is_refused(images):
    maps, masks = images
    with pytest.raises(ValueError, match="NaN has no rank"):
        PixelStream().add(np.full((1, 4, 4), np.nan), np.zeros((1, 4, 4), bool))
    with pytest.raises((TypeError, ValueError)):
        PixelStream().add(maps, masks[:, :3])
    normal = streamed(maps, np.zeros_like(masks))
    with pytest.raises(ValueError, match="at least one defective"):
        normal.auroc()
    with pytest.raises(ValueError, match="no false-positive rate"):
        streamed(maps, masks).area(2)
    with pytest.raises(ValueError, match="too few"):
        PixelStream(cells=100)
    with pytest.raises(ValueError, match="do not add up"):
        PixelStream().merged(PixelStream(cells=1 << 17))
