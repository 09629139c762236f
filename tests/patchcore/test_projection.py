"""Random projections: distances are kept on average, seeds decide, and no channel is gained."""

import pytest
import torch

from mechlab.errors import MechlabError
from reproductions.patchcore.projection import projection


@pytest.mark.parametrize("kind", ["gaussian", "sparse"])
def test_squared_distances_are_kept_on_average(rng, kind):
    points = torch.from_numpy(rng.standard_normal((60, 400))).float()
    ratios = []
    for seed in range(20):
        thin = points @ projection(kind, dim=400, to=64, seed=[seed])
        ratios.append((torch.pdist(thin).square() / torch.pdist(points).square()).mean())
    assert torch.stack(ratios).mean() == pytest.approx(1.0, abs=0.03)


def test_a_sparse_projection_is_sparse():
    values = projection("sparse", dim=400, to=200, seed=[0])
    assert (values != 0).float().mean() == pytest.approx(1 / 20, rel=0.1)
    assert len(values.unique()) == 3


@pytest.mark.parametrize("kind", ["gaussian", "sparse"])
def test_the_seed_decides(kind):
    one, again, other = (projection(kind, dim=20, to=5, seed=seed) for seed in ([1, 2], [1, 2], [1, 3]))
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_a_projection_to_no_fewer_channels_is_refused():
    with pytest.raises(MechlabError, match="give fewer than 20, or set projection to none"):
        projection("gaussian", dim=20, to=20, seed=[0])
