"""What an extractor does not need it does not keep, and its features are none the less the same."""

import pytest
import torch

from reproductions.backbones.network import Network, created, levels

IMAGE = 64


@pytest.fixture(scope="module")
def network() -> Network:
    return created("resnet18", image_size=IMAGE, seed=0)


def test_a_network_that_has_shed_gives_the_same_levels_in_less_memory(network):
    images, before = torch.randn(2, 3, IMAGE, IMAGE), sum(p.numel() for p in network.module.parameters())
    network.module.eval()
    wanted = levels(network.module, images, (1, 2))
    network.shed(network.needed((1, 2), image_size=IMAGE))
    found = levels(network.module, images, (1, 2))
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))
    assert sum(p.numel() for p in network.module.parameters()) < before / 3  # layer4 is three quarters


def test_a_level_that_was_let_go_of_is_not_computed_from_nothing(network):
    network.shed(network.needed((1, 2), image_size=IMAGE))
    with pytest.raises(RuntimeError):
        levels(network.module, torch.randn(1, 3, IMAGE, IMAGE), (4,))
