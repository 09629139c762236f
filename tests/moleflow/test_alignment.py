"""Turning features upright: identity at the start, orthogonal, and back onto the image."""

import math

import numpy as np
import pytest
import torch

from reproductions.moleflow.alignment import Alignment, rotation, turned
from reproductions.moleflow.system import MoLEFlow

DIM, SIDE = 6, 5


@pytest.fixture
def x(rng) -> torch.Tensor:
    return torch.from_numpy(rng.normal(size=(3, SIDE, SIDE, DIM)).astype(np.float32))


def test_no_image_is_turned_at_the_start(x):
    alignment = Alignment(DIM, hidden=4, task=0, seed=0)
    assert torch.equal(alignment.angles(x), torch.zeros(3))
    assert torch.equal(turned(x, alignment.angles(x)), x)


def test_rotations_are_orthogonal_with_determinant_one(rng):
    angles = torch.from_numpy(rng.uniform(-4, 4, 20))
    matrices = rotation(angles)
    eye = torch.eye(2, dtype=torch.float64).expand(20, 2, 2)
    torch.testing.assert_close(matrices @ matrices.transpose(1, 2), eye)
    torch.testing.assert_close(torch.linalg.det(matrices), torch.ones(20, dtype=torch.float64))


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_move_patches_as_pixels(quarters, x):
    found = turned(x, torch.full((3,), quarters * math.pi / 2))
    torch.testing.assert_close(found, torch.rot90(x, quarters, (1, 2)), rtol=0, atol=1e-5)


def test_a_constant_grid_stays_constant_at_every_angle(rng):
    angles = torch.from_numpy(rng.uniform(-3, 3, 4).astype(np.float32))
    found = turned(torch.full((4, 3, 6, 2), 2.5), angles)
    torch.testing.assert_close(found, torch.full((4, 3, 6, 2), 2.5))


def test_the_angle_gets_a_gradient_from_the_first_step(x):
    alignment = Alignment(DIM, hidden=4, task=0, seed=0)
    turned(x, alignment.angles(x)).pow(3).sum().backward()
    assert bool(alignment.turn.weight.grad.any())
    assert (
        alignment.patch.weight.grad is None or not alignment.patch.weight.grad.any()
    )  # behind a zero, so far


def test_scores_lie_on_the_image_and_not_on_what_was_turned(x):
    parts = {"align": "stn", "position": "none", "mixer": "none", "subnet": "plain", "adapter": "none",
             "blocks": 2, "lora_rank": 2, "dia_blocks": 0}  # fmt: skip
    system = MoLEFlow.create(parts, dim=DIM, grid=(SIDE, SIDE), seed=0)
    system.add_task(0)
    before = system.patch_scores(x, task=0)
    with torch.no_grad():
        system.aligner["0"].turn.bias.fill_(math.atanh(0.5))  # a quarter turn
        assert float(system.aligner["0"].angles(x)[0]) == pytest.approx(math.pi / 2)
    # This flow knows no place: turned there and back, each patch has its own score again.
    torch.testing.assert_close(system.patch_scores(x, task=0), before, rtol=1e-3, atol=1e-3)
    terms = system.loss(x, task=0).terms
    assert float(terms["turn"].detach()) == pytest.approx(0.01 * (math.pi / 2) ** 2)
