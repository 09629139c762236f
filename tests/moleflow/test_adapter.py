"""Adapters: the published one stays in its ranges, the affine one whitens and is a density."""

import numpy as np
import pytest
import torch

from mechlab.errors import MechlabError
from reproductions.moleflow.adapter import AffineAdapter, NoAdapter, WhiteningAdapter


def whitening_of(*, task: int = 0) -> WhiteningAdapter:
    return WhiteningAdapter(6, task=task, low=0.5, high=2.0, limit=2.0)


def affine_of(
    *, diagonal: bool = False, by_place: bool = False, ridge: float = 0.0, dim: int = 3
) -> AffineAdapter:
    return AffineAdapter((4, 5), dim, diagonal=diagonal, by_place=by_place, ridge=ridge)


@pytest.fixture
def normals(rng) -> np.ndarray:
    mixing = np.array([[2.0, 0.0, 0.0], [1.5, 0.5, 0.0], [0.3, -0.2, 0.1]])
    return (rng.normal(size=(40, 4, 5, 3)) @ mixing.T + [5.0, -1.0, 0.5]).astype(np.float32)


@pytest.mark.parametrize("raw", [-1e3, -1.0, 0.0, 1.0, 1e3])
def test_whitening_stays_in_its_ranges(raw):
    adapter = whitening_of()
    with torch.no_grad():
        adapter.raw_gamma.fill_(raw)
        adapter.raw_beta.fill_(raw)
    assert ((adapter.gamma >= 0.5) & (adapter.gamma <= 2.0)).all()
    assert (adapter.beta.abs() <= 2.0).all()
    if abs(raw) <= 1:
        assert ((adapter.gamma > 0.5) & (adapter.gamma < 2.0) & (adapter.beta.abs() < 2.0)).all()


def test_whitening_starts_as_published():
    assert float(whitening_of(task=0).gamma[0].detach()) == pytest.approx(0.9977, abs=1e-3)
    assert float(whitening_of(task=1).gamma[0].detach()) == pytest.approx(1.25)
    assert whitening_of().beta.abs().max() == 0


def test_whitening_forgets_each_patchs_mean_and_spread():
    x = torch.randn(2, 3, 3, 6)
    torch.testing.assert_close(whitening_of()(x), whitening_of()(3 * x + 7), rtol=1e-3, atol=1e-4)


def test_distance_from_identity_is_zero_there_alone():
    adapter = whitening_of(task=1)
    assert float(adapter.distance_from_identity().detach()) == pytest.approx(0.25**2)
    with torch.no_grad():
        adapter.raw_gamma.fill_(float(torch.logit(torch.tensor(1 / 3))))
    assert float(adapter.distance_from_identity().detach()) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("by_place", [False, True])
def test_affine_adapter_whitens_its_normals(normals, by_place):
    adapter = affine_of(by_place=by_place).double()
    adapter.fit(normals)
    adapted = adapter(torch.from_numpy(normals).double()).reshape(-1, 3).numpy()
    assert np.abs(adapted.mean(axis=0)).max() < 1e-6
    np.testing.assert_allclose(adapted.T @ adapted / len(adapted), np.eye(3), atol=1e-6)


def test_diagonal_adapter_scales_channels_alone(normals):
    adapter = affine_of(diagonal=True).double()
    adapter.fit(normals)
    adapted = adapter(torch.from_numpy(normals).double()).reshape(-1, 3).numpy()
    np.testing.assert_allclose(adapted.std(axis=0), 1.0, atol=1e-6)
    assert torch.equal(adapter.matrix, torch.diag(adapter.matrix.diagonal()))
    assert abs(np.corrcoef(adapted.T)[0, 1]) > 0.5


def test_affine_log_det_is_its_jacobian(normals):
    adapter = affine_of().double()
    adapter.fit(normals)
    patch = torch.randn(3, dtype=torch.float64)

    def of_patch(value: torch.Tensor) -> torch.Tensor:
        return adapter(value.expand(1, 4, 5, 3))[0, 0, 0]

    jacobian = torch.autograd.functional.jacobian(of_patch, patch)
    assert adapter.log_det() == pytest.approx(float(torch.linalg.slogdet(jacobian).logabsdet), abs=1e-9)


def test_places_keep_their_own_mean_only_as_far_as_it_is_no_noise(rng, normals):
    alike = affine_of(by_place=True)
    alike.fit(normals)
    away = (alike.centre - alike.centre.mean(dim=(0, 1))).std()
    assert away < 0.3 * normals.std() / np.sqrt(len(normals))
    places = rng.normal(size=(4, 5, 3)).astype(np.float32) * 10
    distinct = affine_of(by_place=True)
    distinct.fit(normals + places)
    expected = (normals + places).mean(axis=0)
    np.testing.assert_allclose(distinct.centre.numpy(), expected, atol=0.05)


def test_one_image_has_one_mean(normals):
    adapter = affine_of(by_place=True, ridge=1e-3)
    adapter.fit(normals[:1])
    assert torch.equal(adapter.centre, adapter.centre[:1, :1].expand(4, 5, 3))


def test_features_without_spread_are_refused():
    with pytest.raises(MechlabError, match="do not vary"):
        affine_of(ridge=1e-3).fit(np.ones((3, 4, 5, 3), dtype=np.float32))


def test_no_adapter_changes_nothing(normals):
    adapter = NoAdapter()
    adapter.fit(normals)
    x = torch.from_numpy(normals)
    assert torch.equal(adapter(x), x)
