"""From influence to noise: closed form of both generations, their ranges, and what the batch does to them."""

import math

import pytest
import torch

from reproductions.rd_noising.deviation import EmbeddingDeviation, FeatureDeviation
from reproductions.rd_noising.influence import Influence

ENDS = (0.01, 0.3)
LAWS = {"features": lambda: FeatureDeviation(5, ends=ENDS).double(),
        "embedding": lambda: EmbeddingDeviation(ends=ENDS).double()}  # fmt: skip


@pytest.fixture
def found(rng):
    return Influence(torch.from_numpy(rng.random((20, 5))), torch.from_numpy(rng.random(20) + 1))


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def test_the_first_generation_is_its_formula(found):
    law = LAWS["features"]()
    with torch.no_grad():
        law.channel_weight.copy_(torch.tensor([1.0, 2.0, -1.0, 0.5, 3.0]))
        law.distance_weight.fill_(0.7)
    weighted = (found.channels * torch.tensor([1.0, 2.0, -1.0, 0.5, 3.0])).tolist()
    distances = found.distance.tolist()
    middle = sum(distances) / 20
    spread = math.sqrt(sum((value - middle) ** 2 for value in distances) / 20)
    std = law(found).detach()
    for at, row in enumerate(weighted):
        mean = sum(row) / 5
        own = math.sqrt(sum((value - mean) ** 2 for value in row) / 4)  # over D - 1
        far = (distances[at] - middle) / spread
        for channel, value in enumerate(row):
            expected = 0.01 + 0.29 * sigmoid((value - mean) / own + 0.7 * far)
            assert float(std[at, channel]) == pytest.approx(expected, rel=1e-6)


def test_the_second_generation_is_its_formula(found):
    law = LAWS["embedding"]()
    with torch.no_grad():
        law.influence_weight.fill_(2.0)
        law.distance_weight.fill_(-0.5)
    near, far = float(found.distance.min()), float(found.distance.max())
    std = law(found).detach()
    for at, row in enumerate(found.channels.tolist()):
        away = (float(found.distance[at]) - near) / (far - near)
        for channel, value in enumerate(row):
            share = (value - min(row)) / (max(row) - min(row))
            expected = 0.01 + 0.29 * sigmoid(2 * share - 0.5 * away - 0.5)
            assert float(std[at, channel]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", LAWS)
def test_std_lies_in_its_range_and_grows_with_influence_and_distance(found, name):
    law = LAWS[name]()
    std = law(found).detach()
    assert std.min() > 0.01 and std.max() < 0.3
    farther = Influence(found.channels, found.distance.clone())
    farther.distance[3] += 0.5
    assert (law(farther)[3] > std[3]).all()
    stronger = Influence(found.channels.clone(), found.distance)
    stronger.channels[3, 2] = stronger.channels[3].max() * 1.01
    assert law(stronger)[3, 2] > std[3, 2]


@pytest.mark.parametrize("name", LAWS)
def test_scale_of_the_features_does_not_matter(found, name):
    law = LAWS[name]()
    scaled = Influence(7 * found.channels, 7 * found.distance)
    assert torch.allclose(law(scaled), law(found), atol=1e-6)


@pytest.mark.parametrize("name", LAWS)
def test_a_patch_gets_another_std_among_other_patches(found, name):
    law = LAWS[name]()
    alone = Influence(found.channels[:10], found.distance[:10])
    assert not torch.allclose(law(alone), law(found)[:10], atol=1e-3)
    order = torch.randperm(20)
    assert torch.allclose(law(Influence(found.channels[order], found.distance[order])), law(found)[order])


@pytest.mark.parametrize("name", LAWS)
def test_every_weight_gets_a_gradient_and_the_start_is_that_of_ones(found, name):
    law = LAWS[name]()
    start = law(found).detach()
    assert torch.equal(law.at_start(found), start)
    law(found).square().sum().backward()
    for parameter in law.parameters():
        assert parameter.grad is not None and parameter.grad.abs().min() > 0
        with torch.no_grad():
            parameter.mul_(torch.linspace(0.5, 2.0, parameter.numel()))
    assert not torch.allclose(law(found), start) and torch.equal(law.at_start(found), start)


@pytest.mark.parametrize("name", LAWS)
def test_equal_patches_and_channels_have_a_finite_std(name):
    law = LAWS[name]()
    std = law(Influence(torch.ones(4, 5).double(), torch.ones(4).double()))
    assert torch.isfinite(std).all()
    assert std.unique().numel() == 1
