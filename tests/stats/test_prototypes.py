"""Laws of k-means without chance: one centre is the mean, planted groups are found, order does not matter."""

import numpy as np
import pytest

from mechlab.stats.prototypes import prototypes


def test_one_prototype_is_the_mean(rng):
    samples = rng.normal(size=(30, 5)).astype(np.float32)
    np.testing.assert_allclose(prototypes(samples, 1)[0], samples.astype(np.float64).mean(axis=0), atol=1e-15)


def test_planted_groups_are_found(rng):
    centres = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    samples = np.concatenate([centre + rng.normal(0, 0.3, (20, 2)) for centre in centres])
    found = prototypes(samples, 3)
    expected = samples.reshape(3, 20, 2).mean(axis=1)
    np.testing.assert_allclose(found[np.lexsort(found.T)], expected[np.lexsort(expected.T)], atol=1e-12)


@pytest.mark.parametrize("count", [2, 4])
def test_each_prototype_is_the_mean_of_its_own(rng, count):
    samples = rng.normal(size=(60, 3))
    found = prototypes(samples, count)
    nearest = np.linalg.norm(samples[:, None] - found, axis=-1).argmin(axis=1)
    for index, centre in enumerate(found):
        np.testing.assert_allclose(centre, samples[nearest == index].mean(axis=0), atol=1e-12)


def test_order_shift_and_scale_of_the_samples(rng):
    samples = rng.normal(size=(40, 3))
    found = prototypes(samples, 3)
    np.testing.assert_allclose(prototypes(rng.permutation(samples), 3), found, atol=1e-12)
    np.testing.assert_allclose(prototypes(2 * samples + 5, 3), 2 * found + 5, atol=1e-12)


def test_as_many_prototypes_as_samples_are_the_samples(rng):
    samples = rng.normal(size=(6, 2))
    assert {tuple(row) for row in prototypes(samples, 6)} == {tuple(row) for row in samples}


@pytest.mark.parametrize("count", [0, 3])
def test_more_prototypes_than_distinct_samples_are_refused(count):
    with pytest.raises(ValueError, match=f"{count} prototypes of 2 distinct samples"):
        prototypes(np.array([[1.0], [1.0], [2.0]]), count)
