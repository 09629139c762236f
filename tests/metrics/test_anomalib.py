"""AUPRO and AUPIMO beside those of anomalib, where it can be imported. Written against anomalib 2.7."""

import logging
import warnings

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from mechlab.metrics.pimo import aupimo
from mechlab.metrics.region import aupro


@pytest.fixture(scope="module")
def anomalib():
    """Its metrics, quiet; a test that needs them skips without."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metrics = pytest.importorskip(
            "anomalib.metrics",
            reason="anomalib is no dependency and not importable here",
            exc_type=ImportError,
        )
    logging.getLogger("anomalib").setLevel(logging.ERROR)
    return metrics


def drawn(rng, *, normals, defective, size, step=None, raised=2.5):
    """Smooth maps, the first of which have two raised rectangles; scores are multiples of `step`."""
    masks = np.zeros((defective + normals, size, size), dtype=bool)
    for mask in masks[:defective]:
        for row, column in rng.integers(0, size - 20, (2, 2)):
            height, width = rng.integers(2, 18, 2)
            mask[row : row + height, column : column + width] = True
    noise = np.stack([gaussian_filter(rng.standard_normal((size, size)), 1) for _ in masks])
    maps = noise / noise.std() + raised * masks
    return (maps if step is None else np.round(maps / step) * step).astype(np.float32), masks


def area(anomalib, maps, masks, *, limit):
    metric = anomalib.aupro._AUPRO(fpr_limit=limit)
    metric.update(torch.from_numpy(maps), torch.from_numpy(masks).long())
    return float(metric.compute())


@pytest.mark.parametrize("step", [None, 0.25, 1.0], ids=["no ties", "ties", "heavy ties"])
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_aupro_is_that_of_anomalib(anomalib, rng, limit, step):
    maps, masks = drawn(rng, normals=6, defective=6, size=64, step=step)
    assert aupro(maps, masks, limit=limit) == pytest.approx(
        area(anomalib, maps, masks, limit=limit), abs=5e-7
    )


@pytest.mark.parametrize("limit", [0.3, 1.0])
def test_aupro_of_maps_made_by_hand_is_that_of_anomalib(anomalib, limit):
    masks = np.zeros((2, 8, 8), dtype=bool)
    masks[0, 1:3, 1:3] = masks[0, 3, 3] = masks[1, 5:7, 5:7] = True  # corners touch: one region
    found = masks.astype(np.float32)
    found[0, 3, 3], found[1, 0, 0] = 0.5, 0.75
    for maps in (found, masks.astype(np.float32), 1 - masks.astype(np.float32), np.zeros_like(found)):
        expected = area(anomalib, maps, masks, limit=limit)
        assert aupro(maps, masks, limit=limit) == pytest.approx(expected, abs=5e-7)


def test_aupimo_is_that_of_anomalib_where_rates_are_whole_pixels(anomalib, rng):
    maps, masks = drawn(rng, normals=10, defective=4, size=100, raised=3.5)
    lower, upper = 1e-4, 1e-3  # 10 and 100 of 100,000 normal pixels: both ends are rates of thresholds
    ours = aupimo(maps, masks, lower=lower, upper=upper)
    *_, kinds, theirs, _points = anomalib.pimo.functional.aupimo_scores(
        torch.from_numpy(maps), torch.from_numpy(masks), num_thresholds=50_000, fpr_bounds=(lower, upper)
    )
    assert ours.min() > 0.05 and ours.max() < 0.95
    np.testing.assert_allclose(ours, theirs[kinds == 1].numpy(), atol=1e-3)
