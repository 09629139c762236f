"""Focal weights: what the sketch does at the NLL of real features, and what the relative form does there."""

import math

import pytest
import torch

from mechlab import fingerprint
from mechlab.errors import MechlabError
from mechlab.specs import TrainSpec
from mechlab.train.scopes import apply, optimizer, parameter_hashes
from mechlab.train.scopes import fingerprint as fingerprint_of
from reproductions.moleflow.focal import published_focal, relative_focal, relative_weights
from reproductions.moleflow.system import MoLEFlow

FORMS = {"published": published_focal, "relative": relative_focal}


@pytest.fixture
def nll() -> torch.Tensor:
    return torch.randn(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).abs() + 0.1


@pytest.mark.parametrize("form", FORMS)
def test_gamma_zero_is_the_nll(form, nll):
    for shift in (0.0, -40.0):  # a density may exceed 1, so an NLL may be negative
        assert torch.equal(FORMS[form](nll + shift, gamma=0.0), nll + shift)


def test_published_weight_is_one_less_a_probability(nll):
    expected = (1 - torch.exp(-nll)) ** 2 * nll
    torch.testing.assert_close(published_focal(nll, gamma=2.0), expected)


def test_published_form_changes_no_bit_at_real_sizes():
    real = 300 + torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(0))
    real.requires_grad_()
    focused = published_focal(real, gamma=2.0)
    assert torch.equal(focused, real)
    focused.sum().backward()
    assert torch.equal(real.grad, torch.ones_like(real))


@pytest.mark.parametrize(
    ("nll", "gamma", "is_wrong"),
    [(-3.0, 1.5, math.isnan), (-3.0, 1.0, lambda value: value > 0), (-300.0, 2.0, math.isinf)],
    ids=["nan", "sign", "infinite"],
)
def test_published_form_breaks_below_zero(nll, gamma, is_wrong):
    assert is_wrong(float(published_focal(torch.full((1, 1, 1), nll), gamma=gamma)))


def test_relative_weights_are_blind_to_size_and_sign(nll):
    weights = relative_weights(nll, gamma=2.0)
    torch.testing.assert_close(relative_weights(5 * nll - 700, gamma=2.0), weights)
    torch.testing.assert_close(weights.mean(dim=(1, 2)), torch.ones(3, dtype=torch.float64))
    hardest = weights.flatten(1).argmax(dim=1)
    assert torch.equal(hardest, nll.flatten(1).argmax(dim=1))
    assert float(weights.flatten(1).min()) == 0


def test_relative_weights_of_equally_hard_patches_are_equal():
    flat = torch.full((2, 3, 3), 7.0)
    assert torch.equal(relative_weights(flat, gamma=2.0), torch.ones(2, 3, 3))


def test_relative_weights_carry_no_gradient(nll):
    nll.requires_grad_()
    relative_focal(nll, gamma=2.0).sum().backward()
    torch.testing.assert_close(nll.grad, relative_weights(nll, gamma=2.0))


def trained(parts: dict) -> tuple[str, TrainSpec, str]:
    """Train one task for three steps where NLLs are far above 20; return name, spec and trajectory."""
    system = MoLEFlow.create(
        {"position": "none", "adapter": "none", "blocks": 2, "lora_rank": 2, "tail_weight": 0.0} | parts,
        dim=8,
        grid=(3, 3),
        seed=0,
    )
    system.add_task(0)
    stage = system.stage(0)
    apply(system, stage)
    held, before, losses = optimizer(system, stage), parameter_hashes(system), []
    batch = 12 + torch.randn(4, 3, 3, 8, generator=torch.Generator().manual_seed(1))
    for _ in range(3):
        held.zero_grad(set_to_none=True)
        loss = system.loss(batch, task=0)
        assert float(loss.terms["nll"].detach()) > 100
        loss.total.backward()
        held.step()
        losses.append(float(loss.total.detach()))
    found = fingerprint_of(system, stage, task=0, before=before, losses=tuple(losses))
    spec = TrainSpec(system="moleflow", parts=parts, tasks=(("a",),), features=(), seed=0, epochs=1,
                     batch_size=4)  # fmt: skip
    return "-".join(map(str, parts.values())) or "plain", spec, fingerprint.trajectory((found,))


def test_trajectory_guard_flags_the_published_form_and_not_the_relative_one():
    plain = trained({})
    with pytest.raises(MechlabError, match=r"differ in parts.focal, yet every loss and final parameter"):
        fingerprint.refuse_no_op([plain, trained({"focal": "published"})])
    fingerprint.refuse_no_op([plain, trained({"focal": "relative"})])
