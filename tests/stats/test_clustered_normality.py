import numpy as np
import pytest

from mechlab.stats.clustered_normality import ImageDistances, simulated_null
from mechlab.stats.normality import wasserstein_normal


def distances(values):
    found = ImageDistances(images=len(values), directions=values.shape[2])
    for start in range(0, len(values), 3):
        found.update(start, values[start : start + 3])
    return found


def clustered(rng, *, images, patches, dims, share):
    own = rng.standard_normal((images, patches, dims))
    return np.sqrt(share) * rng.standard_normal((images, 1, dims)) + np.sqrt(1 - share) * own


@pytest.mark.parametrize("kind", ["normal", "wide", "narrow and shifted", "heavy tails", "skewed"])
def test_the_binned_distance_is_the_exact_one(rng, kind):
    draws = {
        "normal": lambda shape: rng.standard_normal(shape),
        "wide": lambda shape: 1.2 * rng.standard_normal(shape),
        "narrow and shifted": lambda shape: 0.3 + 0.7 * rng.standard_normal(shape),
        "heavy tails": lambda shape: rng.standard_t(5, shape),
        "skewed": lambda shape: rng.exponential(size=shape),
    }
    values = draws[kind]((10, 100, 6))
    exact = wasserstein_normal(values.reshape(-1, 6)) ** 2
    np.testing.assert_allclose(distances(values).squared(), exact, atol=2e-3)


def test_a_shift_and_a_scale_give_their_own_size(rng):
    values = rng.standard_normal((30, 200, 4))
    assert np.sqrt(distances(values + 0.4).jackknife().mean()) == pytest.approx(0.4, abs=0.03)
    assert np.sqrt(distances(values * 0.7).jackknife().mean()) == pytest.approx(0.3, abs=0.03)


def test_chunks_do_not_matter(rng):
    values = rng.standard_normal((7, 20, 3))
    whole = ImageDistances(images=7, directions=3)
    whole.update(0, values)
    np.testing.assert_array_equal(distances(values).jackknife(), whole.jackknife())


def test_the_jackknife_takes_out_what_few_images_add(rng):
    plain, jackknifed = [], []
    for _ in range(30):
        found = distances(clustered(rng, images=20, patches=49, dims=8, share=0.3))
        plain.append(found.squared().mean())
        jackknifed.append(found.jackknife().mean())
    assert np.mean(plain) > 0.012  # a distance of 0.11 where the marginals are exactly normal
    assert abs(np.mean(jackknifed)) < 0.005


@pytest.mark.parametrize("share", [0.0, 0.2, 0.6])
def test_the_within_image_correlation_is_found(rng, share):
    values = clustered(rng, images=200, patches=49, dims=20, share=share)
    assert distances(values).correlation().mean() == pytest.approx(share, abs=0.03)


def test_the_simulated_null_is_centred_at_zero_and_widens_with_the_correlation():
    loose = simulated_null(images=20, patches=100, correlation=0.0)
    tight = simulated_null(images=20, patches=100, correlation=0.3)
    assert abs(loose[0]) < 1e-3
    assert abs(tight[0]) < 4 * tight[1] / np.sqrt(40)
    assert tight[1] > 10 * loose[1]


def test_two_images_are_too_few():
    with pytest.raises(ValueError, match="3 images and a direction, not 2 and 1"):
        ImageDistances(images=2, directions=1)


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        ImageDistances(images=3, directions=1).update(0, np.full((3, 2, 1), np.inf))


def test_more_patches_than_can_be_counted_are_refused():
    with pytest.raises(ValueError, match="65536 patches an image"):
        ImageDistances(images=3, directions=1).update(0, np.zeros((1, 65536, 1)))
