"""The noise of an image: its own, standard normal, and no one else's."""

import pytest
import torch

from reproductions.rd_noising.draws import Draws


def draws(*items, seed=3, task=0, epoch=1):
    return Draws(seed=seed, task=task, epoch=epoch, items=items)


def test_an_image_has_its_noise_whatever_its_batch_is():
    together, alone = draws(4, 7, 9).normal((2, 5), layer=0), draws(7).normal((2, 5), layer=0)
    assert torch.equal(together[1], alone[0])
    assert not torch.equal(together[0], together[1])


@pytest.mark.parametrize("other", [{"seed": 4}, {"task": 1}, {"epoch": 2}], ids=["seed", "task", "epoch"])
def test_seed_task_epoch_and_layer_are_all_told_apart(other):
    first = draws(7).normal((50,), layer=0)
    assert not torch.equal(draws(7, **other).normal((50,), layer=0), first)
    assert not torch.equal(draws(7).normal((50,), layer=1), first)
    assert not torch.equal(draws(7).orders(50, layer=0, number=0), draws(7).orders(50, layer=0, number=1))


def test_the_generator_of_a_run_is_not_touched():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    draws(1, 2).normal((4,), layer=0)
    draws(1, 2).orders(4, layer=0, number=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_it_is_standard_normal_and_apart_from_image_to_image():
    noise = torch.cat([draws(*range(20), epoch=epoch).normal((500,), layer=2) for epoch in range(5)])
    assert float(noise.mean()) == pytest.approx(0.0, abs=4 / 50_000**0.5)
    assert float(noise.std()) == pytest.approx(1.0, abs=0.02)
    correlation = torch.corrcoef(noise) - torch.eye(100)
    assert correlation.abs().max() < 0.25
