"""Influence and distance against loops, and the gradient that generation 2 stands for."""

import pytest
import torch

from mechlab.errors import MechlabError
from reproductions.rd_noising import influence
from reproductions.rd_noising.influence import distance_gradient, mean_difference, neighbours


@pytest.fixture
def points(rng):
    return torch.from_numpy(rng.standard_normal((30, 6))), torch.from_numpy(rng.standard_normal((12, 6)))


@pytest.mark.parametrize("chunk", [1 << 22, 50], ids=["one chunk", "many chunks"])
@pytest.mark.parametrize("count", [1, 4])
def test_mean_difference_is_that_of_a_loop_over_the_nearest(points, monkeypatch, chunk, count):
    monkeypatch.setattr(influence, "CHUNK", chunk)
    patches, bank = points
    found = mean_difference(patches, bank, neighbours(patches, bank, count=count))
    for at, patch in enumerate(patches):
        own = sorted(bank, key=lambda kept, patch=patch: float((kept - patch).norm()))[:count]
        gaps = torch.stack([(patch - kept).abs() for kept in own])
        assert torch.allclose(found.channels[at], gaps.mean(dim=0))
        assert found.distance[at] == pytest.approx(float(gaps.square().sum(dim=1).sqrt().mean()))


def test_the_second_influence_is_the_gradient_of_the_distance_to_the_nearest(points):
    patches, bank = points
    moved = patches.clone().requires_grad_(True)
    torch.cdist(moved, bank).amin(dim=1).sum().backward()
    found = distance_gradient(patches, bank, neighbours(patches, bank, count=None))
    assert torch.allclose(found.channels, moved.grad.abs())
    assert torch.allclose(found.channels.square().sum(dim=1), torch.ones(30, dtype=torch.float64))
    assert torch.allclose(found.distance, torch.cdist(patches, bank).mean(dim=1))


def test_a_planted_channel_has_the_influence_and_a_far_patch_the_distance(points):
    _, bank = points
    patches = bank[:5].clone()
    patches[2, 3] += 9.0
    for law in (mean_difference, distance_gradient):
        found = law(patches, bank, neighbours(patches, bank, count=3))
        assert found.channels[2].argmax() == 3
        assert found.distance.argmax() == 2


@pytest.mark.parametrize("law", [mean_difference, distance_gradient])
def test_moving_everything_changes_nothing_and_scale_scales(points, law):
    patches, bank = points
    near = neighbours(patches, bank, count=4)
    plain, moved = law(patches, bank, near), law(3 * patches + 1, 3 * bank + 1, near)
    assert torch.allclose(moved.distance, 3 * plain.distance)
    factor = 3 if law is mean_difference else 1
    assert torch.allclose(moved.channels, factor * plain.channels)


def test_a_patch_that_is_in_the_bank_is_finite(points):
    _, bank = points
    found = distance_gradient(bank, bank, neighbours(bank, bank, count=1))
    assert found.channels.abs().max() == 0 and found.distance.max() == 0


def test_no_gradient_passes(points):
    patches, bank = points[0].clone().requires_grad_(True), points[1]
    found = mean_difference(patches, bank, neighbours(patches, bank, count=2))
    assert not found.channels.requires_grad and not found.distance.requires_grad


def test_more_neighbours_than_the_bank_holds_are_refused(points):
    patches, bank = points
    with pytest.raises(MechlabError, match="13 neighbours are asked of a bank of 12 patches"):
        neighbours(patches, bank, count=13)
