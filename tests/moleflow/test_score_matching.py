"""Score matching: the score is the gradient of log p, and a slice is one product with it."""

import math

import numpy as np
import pytest
import torch

from mechlab.train.scopes import apply
from mechlab.train.stage import Moment
from reproductions.moleflow import score_matching
from reproductions.moleflow.config import MoLEFlowConfig
from reproductions.moleflow.losses import patch_nll
from reproductions.moleflow.score_matching import (
    full_loss,
    matching_loss,
    nll_share,
    noise_for,
    score,
    sliced_loss,
)
from reproductions.moleflow.system import MoLEFlow

DIM, GRID = 6, (2, 3)
PARTS = {
    "blocks": 2,
    "lora_rank": 2,
    "dia_blocks": 0,
    "context_kernel": 3,
    "position": "none",
    "mixer": "none",
}


def moment(items=(0, 1, 2), *, epoch=0, step=0) -> Moment:
    return Moment(step=step, epoch=epoch, phase=0, items=np.array(items))


@pytest.fixture(params=[{}, {"subnet": "plain", "coupling": "freia"}, {"subnet": "cpcf"}], ids=str)
def flow(request) -> MoLEFlow:
    """A flow off its start, in float64."""
    system = MoLEFlow.create(PARTS | request.param, dim=DIM, grid=GRID, seed=0)
    system.add_task(0)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in system.named_parameters():
            if "w_perm" not in name and "global" not in name:
                value.add_(0.3 * torch.randn(value.shape, generator=draw))
    return system.double()


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(3, *GRID, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def log_density(system):
    def of_images(at):
        flowed = system.to_latent(at, task=0)
        return -patch_nll(flowed.latent, flowed.log_det).sum(dim=(1, 2))

    return of_images


def test_the_score_is_the_gradient_of_the_exact_log_density(flow, x):
    """log p from the change of variables with the autograd Jacobian, differentiated by finite steps."""

    def exact(image: torch.Tensor) -> float:
        def mapped(flat):
            return flow.to_latent(flat.view(1, *GRID, DIM), task=0).latent.flatten()

        with torch.no_grad():
            z = mapped(image.flatten())
        jacobian = torch.autograd.functional.jacobian(mapped, image.flatten())
        log_det = float(torch.linalg.slogdet(jacobian).logabsdet)
        return float(-0.5 * z.square().sum() - len(z) / 2 * math.log(2 * math.pi)) + log_det

    found = score(log_density(flow), x)[0].flatten()
    for place in range(0, found.numel(), 5):
        step = torch.zeros(found.numel(), dtype=torch.float64)
        step[place] = 1e-5
        ahead, behind = (exact(x[0] + sign * step.view(*GRID, DIM)) for sign in (1, -1))
        assert float(found[place].detach()) == pytest.approx((ahead - behind) / 2e-5, rel=1e-5, abs=1e-6)


def test_the_score_of_a_standard_normal_is_minus_x(x):
    def normal(at):
        return -0.5 * at.square().sum(dim=(1, 2, 3))

    torch.testing.assert_close(score(normal, x), -x)
    assert full_loss(normal, x, target=-x).item() == pytest.approx(0.0, abs=1e-20)


def test_a_slice_is_the_product_of_the_score_with_its_direction(flow, x):
    target = torch.zeros_like(x)
    directions = torch.randn(4, *x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found = sliced_loss(log_density(flow), x, target=target, directions=directions)
    products = (score(log_density(flow), x) * directions).sum(dim=(2, 3, 4))
    assert found.item() == pytest.approx(products.square().mean().item() / math.prod(GRID), rel=1e-9)


def test_the_mean_over_directions_is_the_full_loss(flow, x):
    """Over directions that sum to the identity, e_i · sqrt(n), the mean is exact."""
    target = torch.randn_like(x)
    count = x[0].numel()
    whole = math.sqrt(count) * torch.eye(count, dtype=torch.float64).view(count, 1, *GRID, DIM)
    sliced = sliced_loss(log_density(flow), x, target=target, directions=whole.expand(-1, 3, -1, -1, -1))
    assert sliced.item() == pytest.approx(full_loss(log_density(flow), x, target=target).item(), rel=1e-9)


def test_drawn_directions_are_unbiased():
    def normal(at):
        return -0.5 * at.square().sum(dim=(1, 2, 3))

    x = torch.ones(1, *GRID, DIM)
    config = MoLEFlowConfig(dsm="sliced", dsm_projections=2_000)
    noise = noise_for(config, x, task=0, moment=moment([0]), seed=0)
    ratio = sliced_loss(normal, x, target=torch.zeros_like(x), directions=noise.directions) / full_loss(
        normal, x, target=torch.zeros_like(x)
    )
    assert ratio.item() == pytest.approx(1.0, abs=4 * math.sqrt(2 / 2_000))


def test_both_forms_teach_every_parameter_of_the_flow(flow, x):
    gradients = []
    count = x[0].numel()
    whole = math.sqrt(count) * torch.eye(count, dtype=torch.float64).view(count, 1, *GRID, DIM)
    moving = {name: value for name, value in flow.named_parameters() if name.startswith("flow.")}
    moving = {name: value for name, value in moving.items() if "w_perm" not in name and "global_" not in name}
    for loss in (
        full_loss(log_density(flow), x, target=-x),
        sliced_loss(log_density(flow), x, target=-x, directions=whole.expand(-1, 3, -1, -1, -1)),
    ):
        gradients.append(torch.autograd.grad(loss, list(moving.values())))
    for name, full, sliced in zip(moving, *gradients, strict=True):
        assert bool(full.any()), name
        torch.testing.assert_close(sliced, full, rtol=1e-7, atol=1e-10)


def test_slicing_never_forms_the_score(flow, x, monkeypatch):
    def refuse(*_args, **_words):
        raise AssertionError("the full score was computed")

    monkeypatch.setattr(score_matching, "score", refuse)
    monkeypatch.setattr(torch.autograd, "grad", refuse)
    config = MoLEFlowConfig(dsm="sliced")
    noise = noise_for(config, x, task=0, moment=moment(), seed=0)
    assert math.isfinite(matching_loss(config, log_density(flow), x, noise=noise).item())
    with pytest.raises(AssertionError, match="the full score was computed"):
        matching_loss(MoLEFlowConfig(dsm="full"), log_density(flow), x, noise=noise)


def test_the_optimum_for_normal_data_is_its_noised_density():
    """Over N(0, 1) data and noise of deviation s the best Gaussian has variance 1 + s²."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(50, 10, 10, 40, dtype=torch.float64, generator=draw)
    noise = torch.randn(x.shape, dtype=torch.float64, generator=draw)
    sigma, losses = 0.5, {}
    for variance in (1.0, 1.15, 1.25, 1.35, 1.5):

        def gaussian(at, variance=variance):
            return -0.5 * at.square().sum(dim=(1, 2, 3)) / variance

        losses[variance] = full_loss(gaussian, x + sigma * noise, target=-noise / sigma).item()
    assert min(losses, key=losses.get) == 1.25


@pytest.mark.parametrize(("kind", "middle"), [("geometric", 0.1), ("uniform", 0.505), ("fixed", 0.01)])
def test_sigma_is_drawn_as_asked(kind, middle):
    config = MoLEFlowConfig(dsm="full", dsm_noise=kind)
    x = torch.zeros(2000, 1, 1, 1)
    sigma = noise_for(config, x, task=0, moment=moment(range(2000)), seed=0).sigma.flatten()
    assert float(sigma.min()) >= 0.01 - 1e-7
    assert float(sigma.max()) <= (0.01 if kind == "fixed" else 1.0) + 1e-7
    assert float(sigma.median()) == pytest.approx(middle, rel=0.15)


def test_noise_depends_on_the_image_and_the_epoch_alone(x):
    config = MoLEFlowConfig(dsm="sliced")
    whole = noise_for(config, x, task=0, moment=moment(), seed=0)
    part = noise_for(config, x[1:], task=0, moment=moment([1, 2], step=7), seed=0)
    assert torch.equal(whole.unit[1:], part.unit)
    assert torch.equal(whole.directions[:, 1:], part.directions)
    for other in (
        noise_for(config, x, task=0, moment=moment(epoch=1), seed=0),
        noise_for(config, x, task=1, moment=moment(), seed=0),
        noise_for(config, x, task=0, moment=moment(), seed=1),
    ):
        assert not torch.equal(whole.unit, other.unit)


def test_the_weight_of_the_nll_goes_from_its_first_to_its_last_value():
    config = MoLEFlowConfig(dsm="full", dsm_alpha=0.8, dsm_alpha_last=0.5, epochs=4)
    assert [nll_share(config, epoch=epoch) for epoch in range(4)] == pytest.approx([0.8, 0.7, 0.6, 0.5])
    assert {nll_share(MoLEFlowConfig(dsm="full"), epoch=epoch) for epoch in range(60)} == {0.5}


def test_the_clean_penalty_is_the_squared_score_without_noise(flow, x):
    config = MoLEFlowConfig(dsm="full")
    noise = noise_for(config, x, task=0, moment=moment(), seed=0)
    plain = matching_loss(config, log_density(flow), x, noise=noise)
    with_penalty = matching_loss(
        config.model_copy(update={"dsm_clean_weight": 0.1}), log_density(flow), x, noise=noise
    )
    squared = score(log_density(flow), x).square().sum(dim=-1).mean()
    assert (with_penalty - plain).item() == pytest.approx(0.1 * squared.item(), rel=1e-9)


def alone(**parts) -> MoLEFlow:
    """A system at its start with one task, in float32."""
    system = MoLEFlow.create(PARTS | parts, dim=DIM, grid=GRID, seed=0)
    system.add_task(0)
    return system


def test_alpha_one_is_the_nll_to_the_bit_and_zero_is_score_matching_alone(x):
    batch = x.float()
    plain = alone().loss(batch, task=0)
    for kind in ("full", "sliced"):
        one = alone(dsm=kind, dsm_alpha=1.0).loss(batch, task=0)
        assert torch.equal(one.total, plain.total) and set(one.terms) == set(plain.terms)
        none = alone(dsm=kind, dsm_alpha=0.0).loss(batch, task=0)
        assert torch.equal(none.total, none.terms["score_matching"])
        half = alone(dsm=kind, dsm_alpha=0.5).loss(batch, task=0)
        expected = 0.5 * plain.total.item() + 0.5 * none.total.item()
        assert half.total.item() == pytest.approx(expected, rel=1e-5)


def test_each_epoch_weighs_the_nll_by_its_own_share(x):
    system = alone(dsm="full", dsm_alpha=0.8, dsm_alpha_last=0.2, epochs=3)
    batch = x.float()
    plain = alone().loss(batch, task=0).total.item()
    for epoch, share in enumerate((0.8, 0.5, 0.2)):
        found = system.loss_at(batch, task=0, moment=moment(epoch=epoch))
        expected = share * plain + (1 - share) * found.terms["score_matching"].item()
        assert found.total.item() == pytest.approx(expected, rel=1e-5)


def test_noise_is_added_behind_adapter_and_mixer(x):
    system = alone(dsm="full", dsm_alpha=0.0, mixer="depthwise")
    batch = x.float()
    adapted = system.adapt(batch, task=0)
    noise = noise_for(system.config, adapted, task=0, moment=moment(), seed=0)
    expected = matching_loss(system.config, log_density(system), adapted, noise=noise)
    assert system.loss(batch, task=0).total.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("kind", ["full", "sliced"])
@pytest.mark.parametrize("task", [0, 1], ids=["base trains", "base frozen"])
def test_fused_products_teach_what_products_apart_teach(kind, task, x):
    found = []
    for products in ("apart", "fused"):
        system = MoLEFlow.create(
            PARTS | {"dsm": kind, "dsm_alpha": 0.0, "products": products}, dim=DIM, grid=GRID, seed=0
        )
        for each in range(task + 1):
            system.add_task(each)
        system.double()
        apply(system, system.stage(task))
        draw = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for value in system.parameters():
                value.add_(0.3 * torch.randn(value.shape, generator=draw))
        system.loss(x, task=task).total.backward()
        found.append(
            {name: value.grad for name, value in system.named_parameters() if value.grad is not None}
        )
    assert found[0].keys() == found[1].keys() and found[0]
    for name, gradient in found[0].items():
        torch.testing.assert_close(
            found[1][name], gradient, rtol=1e-7, atol=1e-9, msg=lambda text, n=name: f"{n}: {text}"
        )


def test_the_target_at_a_noised_input_is_minus_the_noise_over_sigma(x):
    def normal(at):
        return -0.5 * at.square().sum(dim=(1, 2, 3))

    noise = noise_for(MoLEFlowConfig(dsm="full"), x, task=0, moment=moment(), seed=0)
    found = matching_loss(MoLEFlowConfig(dsm="full"), normal, x, noise=noise)
    away = -(x + noise.sigma * noise.unit) + noise.unit / noise.sigma
    assert found.item() == pytest.approx(away.square().sum(dim=-1).mean().item(), rel=1e-9)
