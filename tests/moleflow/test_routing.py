"""Routers: distances in closed form, shrinkage as scikit-learn has it."""

import numpy as np
import pytest
import torch

from reproductions.moleflow.routing import TaskStatistics, image_means, latent_entropy, shrunk_covariance


@pytest.mark.parametrize(("count", "dim"), [(200, 5), (20, 5), (12, 30), (2, 4)])
def test_shrinkage_equals_scikit_learn(rng, count, dim):
    from sklearn.covariance import ledoit_wolf

    samples = rng.normal(size=(count, dim)) @ rng.normal(size=(dim, dim)) + 3
    covariance, weight = shrunk_covariance(samples)
    expected, expected_weight = ledoit_wolf(samples)
    np.testing.assert_allclose(covariance, expected, rtol=1e-9, atol=1e-12)
    assert weight == pytest.approx(expected_weight, abs=1e-12)


def test_shrinkage_fades_with_more_images(rng):
    mixing = rng.normal(size=(6, 6))
    weights = [shrunk_covariance(rng.normal(size=(count, 6)) @ mixing)[1] for count in (10, 100, 10_000)]
    assert weights[0] > weights[1] > weights[2]
    assert weights[2] < 0.01


def test_image_means_average_over_places(rng):
    features = rng.normal(size=(3, 4, 5, 2)).astype(np.float32)
    np.testing.assert_allclose(image_means(features), features.astype(np.float64).mean(axis=(1, 2)))


def fitted(rng, *, shift: float = 0.0) -> tuple[TaskStatistics, np.ndarray]:
    features = rng.normal(size=(50, 2, 2, 4)).astype(np.float32) * [3.0, 1.0, 1.0, 0.2] + shift
    statistics = TaskStatistics(4)
    statistics.fit(features.astype(np.float32))
    return statistics, features.astype(np.float32)


def test_euclidean_distance_is_that_of_the_means(rng):
    statistics, features = fitted(rng)
    means = image_means(features)
    found = statistics.distance(torch.from_numpy(means), router="euclidean").numpy()
    np.testing.assert_allclose(found, np.linalg.norm(means - means.mean(axis=0), axis=1))


def test_mahalanobis_distance_uses_the_shrunk_covariance(rng):
    statistics, features = fitted(rng)
    means = image_means(features)
    away = means - means.mean(axis=0)
    expected = np.sqrt(np.einsum("id,de,ie->i", away, np.linalg.inv(shrunk_covariance(means)[0]), away))
    found = statistics.distance(torch.from_numpy(means), router="mahalanobis").numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_distances_do_not_change_under_a_common_shift(rng):
    here, features = fitted(np.random.default_rng(1))
    there, shifted = fitted(np.random.default_rng(1), shift=5.0)
    for router in ("mahalanobis", "euclidean"):
        one, two = (
            statistics.distance(torch.from_numpy(image_means(value)), router=router)
            for statistics, value in ((here, features), (there, shifted))
        )
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)


def test_a_task_without_statistics_is_infinitely_far():
    assert torch.isinf(TaskStatistics(4).distance(torch.zeros(3, 4), router="mahalanobis")).all()


def test_images_without_spread_still_have_a_distance():
    statistics = TaskStatistics(4)
    statistics.fit(np.ones((5, 2, 2, 4), dtype=np.float32))
    assert statistics.distance(torch.ones(1, 4), router="mahalanobis")[0] == 0
    assert torch.isfinite(statistics.distance(torch.zeros(1, 4), router="mahalanobis")).all()


def test_the_log_det_is_that_of_the_shrunk_covariance(rng):
    statistics, features = fitted(rng)
    expected = np.linalg.slogdet(shrunk_covariance(image_means(features))[0]).logabsdet
    found = statistics.distance(torch.zeros(3, 4), router="log_det").numpy()
    np.testing.assert_allclose(found, [expected] * 3, rtol=1e-6)
    assert torch.isinf(TaskStatistics(4).distance(torch.zeros(3, 4), router="log_det")).all()


def test_the_entropy_of_latents_is_a_gaussian_s(rng):
    latent = torch.from_numpy(rng.normal(5, [[[1.0, 3.0]]], (2, 100, 100, 2)))
    expected = 0.5 * np.log(2 * np.pi * np.e) + 0.5 * np.log(3.0)  # mean over channels of deviation 1 and 3
    np.testing.assert_allclose(latent_entropy(latent).numpy(), expected, atol=0.02)
    torch.testing.assert_close(latent_entropy(latent * np.e), latent_entropy(latent) + 1)
    torch.testing.assert_close(latent_entropy(latent - 7), latent_entropy(latent))
    assert torch.isfinite(latent_entropy(torch.ones(1, 2, 2, 3))).all()
