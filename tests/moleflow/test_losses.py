"""Losses: one reduction, named parts."""

import math

import pytest
import torch

from mechlab.errors import MechlabError
from reproductions.moleflow.losses import (
    center_loss,
    log_det_penalty,
    loss_by_name,
    mean_loss,
    patch_nll,
    tail_loss,
    tail_size,
)


@pytest.fixture
def nll() -> torch.Tensor:
    return torch.randn(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_nll_is_minus_the_log_density_of_a_standard_normal(nll):
    latent = torch.randn(2, 3, 4, 7, dtype=torch.float64)
    log_det = torch.randn(2, 3, 4, dtype=torch.float64)
    expected = -torch.distributions.Normal(0, 1).log_prob(latent).sum(dim=-1) - log_det
    torch.testing.assert_close(patch_nll(latent, log_det), expected)


@pytest.mark.parametrize(
    ("patches", "ratio", "k"), [(784, 0.02, 15), (196, 0.02, 3), (10, 0.02, 1), (10, 1.0, 10)]
)
def test_tail_holds_the_floor_of_the_ratio_and_at_least_one_patch(patches, ratio, k):
    assert tail_size(patches, ratio=ratio) == k


def test_weight_zero_is_the_mean(nll):
    assert float(tail_loss(nll, weight=0.0, ratio=0.1)) == pytest.approx(float(nll.mean()), abs=1e-15)


def test_weight_one_is_the_mean_of_each_images_worst(nll):
    expected = sum(float(image.flatten().sort(descending=True).values[:2].mean()) for image in nll) / 3
    assert float(tail_loss(nll, weight=1.0, ratio=0.1)) == pytest.approx(expected)


def test_every_term_keeps_its_size_when_images_are_repeated(nll):
    for loss in (mean_loss, log_det_penalty, loss_by_name("tail:0.7:0.1")):
        assert float(loss(nll.repeat(4, 1, 1))) == pytest.approx(float(loss(nll)))


def test_tail_gradient_is_the_analytic_weight_of_each_patch(nll):
    nll.requires_grad_()
    tail_loss(nll, weight=0.7, ratio=0.1).backward()
    worst = torch.zeros(3, 20, dtype=torch.float64)
    worst.scatter_(1, nll.detach().flatten(1).topk(2, dim=1).indices, 0.7 / 2)
    torch.testing.assert_close(nll.grad.flatten(1), (worst + 0.3 / 20) / 3)


def test_log_det_penalty_is_the_mean_square_and_flat_at_zero():
    log_det = torch.tensor([[[0.0, 2.0], [-2.0, 0.0]]], requires_grad=True)
    penalty = log_det_penalty(log_det)
    penalty.backward()
    assert float(penalty.detach()) == 2.0
    assert log_det.grad[0, 0, 0] == 0
    assert math.isclose(float(log_det.grad[0, 0, 1]), 1.0)


@pytest.mark.parametrize("weight", [0.01, 0.05, 0.1])
def test_center_loss_is_a_narrower_prior_up_to_a_constant(weight):
    latent = torch.randn(2, 3, 4, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    log_det = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    prior = torch.distributions.Normal(0.0, torch.tensor(1 + 2 * weight, dtype=torch.float64) ** -0.5)

    def narrower(z: torch.Tensor) -> torch.Tensor:
        return (-prior.log_prob(z).sum(dim=-1) - log_det).mean()

    def centred(z: torch.Tensor) -> torch.Tensor:
        return mean_loss(patch_nll(z, log_det)) + weight * center_loss(z)

    constant = 7 / 2 * math.log(1 + 2 * weight)
    for z in (latent, 3 * latent):
        assert float(centred(z) - narrower(z)) == pytest.approx(constant, abs=1e-12)
    gradients = [torch.autograd.functional.jacobian(loss, latent) for loss in (centred, narrower)]
    torch.testing.assert_close(*gradients)
    assert bool(gradients[0].any())


def test_losses_are_found_by_name(nll):
    assert float(loss_by_name("mean")(nll)) == float(nll.mean())
    assert float(loss_by_name("tail:0.7:0.1")(nll)) == float(tail_loss(nll, weight=0.7, ratio=0.1))


@pytest.mark.parametrize(
    "name", ["median", "tail", "tail:2:0.1", "tail:0.5:0", "tail:a:b", "tail:0.5:0.1:3", "mean:1"]
)
def test_other_names_are_refused_with_the_two_that_work(name):
    with pytest.raises(MechlabError, match=r"use mean, or tail:<weight>:<ratio>"):
        loss_by_name(name)
