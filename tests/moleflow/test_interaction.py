"""The interaction of neighbours: blind to what all share, and no farther than one patch."""

import numpy as np
import pytest
import torch

from reproductions.moleflow.interaction import PatchInteraction


@pytest.fixture
def mixer():
    return PatchInteraction(4, seed=0).double()


@pytest.fixture
def x(rng):
    return torch.from_numpy(rng.normal(size=(2, 5, 6, 4)))


def test_an_image_of_equal_patches_stays_as_it_is(mixer, x):
    equal = x[:, :1, :1].expand(2, 5, 6, 4)
    torch.testing.assert_close(mixer(equal, task=0), equal)
    assert not torch.allclose(mixer(x, task=0), x, atol=0.1)


def test_only_neighbours_are_seen(mixer, x):
    touched = x.clone()
    touched[:, 2, 3] += 1
    moved = (mixer(touched, task=0) - mixer(x, task=0)).abs().amax(dim=(0, 3)) > 1e-12
    expected = torch.zeros(5, 6, dtype=torch.bool)
    expected[1:4, 2:5] = True
    assert torch.equal(moved, expected)


def test_the_mean_is_over_the_neighbours_that_there_are(mixer, x):
    found = mixer(x, task=0)[:, 0, 0]
    others = (x[:, 0, 1] + x[:, 1, 0] + x[:, 1, 1]) / 3
    torch.testing.assert_close(found, x[:, 0, 0] + 0.5 * (others - x[:, 0, 0]) @ mixer.change.weight.T)


def test_one_patch_has_no_neighbours(mixer, x):
    assert torch.equal(mixer(x[:, :1, :1], task=0), x[:, :1, :1])
    assert np.isfinite(mixer(x[:, :1, :2], task=0).detach().numpy()).all()
