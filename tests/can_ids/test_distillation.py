"""What a teacher says, as losses: closed forms, switches, and what must not move."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from mechlab.errors import MechlabError
from mechlab.train.stage import Loss
from reproductions.can_ids.distillation import Signals, combined, soft_labels, vgae_distillation
from reproductions.can_ids.projection import projection
from reproductions.can_ids.vgae import VGAEOutput


def output(*, latent=2, nodes=3, seed=0, mean=None):
    draw = torch.Generator().manual_seed(seed)

    def some(width):
        return torch.rand(nodes, width, generator=draw)

    middle = some(latent) if mean is None else mean
    drawn = middle + torch.randn(middle.shape, generator=draw)
    return VGAEOutput(some(10), some(4), some(4), drawn, torch.tensor(0.0), middle)


def test_soft_labels_are_the_divergence_in_closed_form():
    student, teacher, heat = (
        torch.tensor([[0.0, 1.0], [2.0, -1.0]]),
        torch.tensor([[1.0, 0.0], [0.0, 3.0]]),
        4.0,
    )
    expected = 0.0
    for one, two in zip(student.tolist(), teacher.tolist(), strict=True):
        told, wanted = ([math.exp(value / heat) for value in row] for row in (one, two))
        told, wanted = ([value / sum(row) for value in row] for row in (told, wanted))
        expected += sum(w * math.log(w / t) for w, t in zip(wanted, told, strict=True))
    found = soft_labels(student, teacher, temperature=heat)
    assert float(found) == pytest.approx(heat**2 * expected / 2, rel=1e-5)


def test_soft_labels_of_equal_logits_cost_nothing_and_a_shift_changes_nothing():
    logits = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    assert float(soft_labels(logits, logits, temperature=4.0)) == pytest.approx(0, abs=1e-6)
    assert float(soft_labels(logits, logits + 7, temperature=4.0)) == pytest.approx(0, abs=1e-6)


def test_a_high_temperature_leaves_the_size_of_the_gradient():
    teacher = torch.tensor([[1.0, -1.0]])
    sizes = []
    for heat in (20.0, 200.0):
        student = torch.tensor([[0.5, 0.3]], requires_grad=True)
        soft_labels(student, teacher, temperature=heat).backward()
        sizes.append(float(student.grad.norm()))
    assert sizes[1] == pytest.approx(sizes[0], rel=0.05)


def test_latents_are_matched_by_their_means_not_by_draws():
    mean = torch.randn(3, 2, generator=torch.Generator().manual_seed(5))
    student, teacher = output(mean=mean, seed=1), output(mean=mean, seed=2)
    assert not torch.equal(student.z, teacher.z)
    loss = vgae_distillation(student, teacher, nn.Identity(), Signals(latent=1.0, reconstruction=0.0))
    assert float(loss.total) == 0


def test_both_signals_are_weighted_mean_squared_errors():
    student, teacher, through = output(seed=1), output(latent=5, seed=2), projection(2, 5, seed=0)
    loss = vgae_distillation(student, teacher, through, Signals(latent=0.3, reconstruction=0.2))
    latent = functional.mse_loss(through(student.mean), teacher.mean)
    seen = functional.mse_loss(student.cont, teacher.cont)
    torch.testing.assert_close(loss.terms["kd_latent_loss"], latent)
    torch.testing.assert_close(loss.terms["kd_recon_loss"], seen)
    torch.testing.assert_close(loss.total, 0.3 * latent + 0.2 * seen)


@pytest.mark.parametrize(
    ("signals", "left"),
    [
        ({"latent": 0.0}, {"kd_loss", "kd_recon_loss"}),
        ({"reconstruction": 0.0}, {"kd_loss", "kd_latent_loss"}),
    ],
    ids=["no latent", "no reconstruction"],
)
def test_a_weight_of_0_leaves_a_signal_out(signals, left):
    loss = vgae_distillation(output(seed=1), output(seed=2), nn.Identity(), Signals(**signals))
    assert set(loss.terms) == left


def test_a_teacher_that_says_nothing_is_refused():
    with pytest.raises(MechlabError, match="latent_weight 0 and reconstruction_weight 0"):
        Signals(latent=0.0, reconstruction=0.0)


def test_alpha_weighs_teacher_against_task():
    task, told = Loss(total=torch.tensor(2.0)), Loss(total=torch.tensor(10.0), terms={})
    assert float(combined(task, told, alpha=0.7).total) == pytest.approx(0.7 * 10 + 0.3 * 2)
    alone = combined(task, None, alpha=0.7)
    assert alone.total is task.total
    assert set(alone.terms) == {"train_loss"}


def test_the_projection_is_there_where_sizes_differ_and_draws_from_nobody_else():
    assert isinstance(projection(4, 4, seed=0), nn.Identity)
    before = torch.get_rng_state()
    layer = projection(4, 6, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert layer.weight.shape == (6, 4)
