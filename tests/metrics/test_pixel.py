"""Pixel metrics: equal to scikit-learn on random maps with ties, empty masks and one region."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from mechlab.metrics.pixel import pixel_ap, pixel_auroc


def one_region(rng):
    masks = np.zeros((3, 16, 20), bool)
    masks[1, 4:7, 5:9] = True  # images 0 and 2 have empty masks
    return masks


def speckled(rng):
    return rng.random((3, 16, 20)) < 0.1


@pytest.mark.parametrize("masks_of", [one_region, speckled], ids=["one region, empty masks", "speckled"])
@pytest.mark.parametrize("decimals", [0, 1, 8], ids=["heavy ties", "ties", "no ties"])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_equal_to_scikit_learn(rng, masks_of, decimals, kind):
    masks = masks_of(rng)
    maps = np.round(rng.standard_normal(masks.shape) + masks, decimals).astype(kind)
    assert pixel_auroc(maps, masks) == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()), abs=1e-14)
    assert pixel_ap(maps, masks) == pytest.approx(
        average_precision_score(masks.ravel(), maps.ravel()), abs=1e-14
    )


def test_the_order_of_pixels_does_not_matter(rng):
    masks = speckled(rng)
    maps = np.round(rng.standard_normal(masks.shape), 1)
    order = rng.permutation(masks.size)
    mixed = maps.ravel()[order].reshape(maps.shape), masks.ravel()[order].reshape(masks.shape)
    assert pixel_auroc(*mixed) == pixel_auroc(maps, masks)
    assert pixel_ap(*mixed) == pixel_ap(maps, masks)


def test_a_map_that_is_the_mask_is_perfect(rng):
    masks = one_region(rng)
    assert pixel_auroc(masks.astype(np.float32), masks) == 1.0
    assert pixel_ap(masks.astype(np.float32), masks) == 1.0


@pytest.mark.parametrize("metric", [pixel_auroc, pixel_ap])
@pytest.mark.parametrize("filled", [False, True])
def test_masks_of_one_kind_are_refused(metric, filled):
    with pytest.raises(ValueError, match="needs both classes"):
        metric(np.zeros((2, 4, 4)), np.full((2, 4, 4), filled))


def test_maps_and_masks_of_other_sizes_are_refused():
    with pytest.raises((TypeError, ValueError)):
        pixel_auroc(np.zeros((2, 4, 4)), np.zeros((2, 4, 5), bool))
