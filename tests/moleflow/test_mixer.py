"""The context mixer."""

import torch

from reproductions.moleflow.mixer import ContextMixer


def test_constant_features_stay_inside_as_they_are_at_the_start():
    x = torch.full((1, 5, 5, 3), 2.0)
    mixed = ContextMixer(3, kernel=3)(x, task=0)
    assert torch.allclose(mixed[:, 1:-1, 1:-1], x[:, 1:-1, 1:-1])
    assert (mixed[:, 0] < 2).all()  # zero padding


def test_share_of_the_neighbourhood_follows_the_level():
    mixer, x = ContextMixer(3, kernel=3), torch.randn(2, 5, 5, 3)
    share = torch.sigmoid(torch.tensor(0.5))
    around = torch.nn.functional.avg_pool2d(x.permute(0, 3, 1, 2), 3, 1, 1).permute(0, 2, 3, 1)
    torch.testing.assert_close(mixer(x, task=0), (1 - share) * x + share * around)
    with torch.no_grad():
        mixer.level.fill_(-50.0)
    torch.testing.assert_close(mixer(x, task=0), x)
