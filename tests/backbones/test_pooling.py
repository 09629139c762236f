"""The cheap pooling gives the numbers of the general one, and both those of the definition."""

import numpy as np
import pytest
import torch

from reproductions.backbones.pooling import _grouped, _unfolded, averaged, narrowed, pooled


@pytest.mark.parametrize(("channels", "dim"), [(128, 128), (256, 128), (24, 8), (6, 6), (5, 1)])
def test_the_cheap_way_equals_the_general_way(channels: int, dim: int) -> None:
    maps = torch.randn(3, channels, 9, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(_grouped(maps, dim), _unfolded(maps, dim), atol=1e-12, rtol=0)
    single = pooled(maps.float(), dim).double()
    torch.testing.assert_close(single, _unfolded(maps, dim), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("channels", "dim"), [(4, 6), (8, 3), (4, 36), (3, 4)])
def test_the_general_way_follows_the_definition(channels: int, dim: int, rng: np.random.Generator) -> None:
    """Bin b of D takes entries floor(b n / D) to ceil((b + 1) n / D) of the flattened neighbourhood."""
    maps = rng.normal(size=(1, channels, 4, 5))
    padded = np.pad(maps[0], ((0, 0), (1, 1), (1, 1)))
    n = channels * 9
    expected = np.empty((1, dim, 4, 5))
    for row in range(4):
        for column in range(5):
            flat = padded[:, row : row + 3, column : column + 3].ravel()
            for bin_ in range(dim):
                low, high = bin_ * n // dim, -(-(bin_ + 1) * n // dim)
                expected[0, bin_, row, column] = flat[low:high].mean()
    found = pooled(torch.from_numpy(maps), dim).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_constant_map_stays_constant_away_from_the_border() -> None:
    found = pooled(torch.full((1, 8, 5, 5), 2.0), 4)
    assert (found[:, :, 1:-1, 1:-1] == 2.0).all()
    torch.testing.assert_close(found[0, 0, 0, 0], torch.tensor(2.0 * 4 / 9))  # zeros lie beyond the corner


def test_tokens_are_narrowed_without_their_neighbours() -> None:
    maps = torch.zeros(1, 6, 3, 3)
    maps[0, :, 1, 1] = torch.arange(6.0)
    found = narrowed(maps, 3)
    assert found[0, :, 1, 1].tolist() == [0.5, 2.5, 4.5]
    assert found.sum() == found[0, :, 1, 1].sum()


def test_layers_meet_on_the_grid_of_the_first() -> None:
    fine, coarse = torch.zeros(2, 3, 8, 8), torch.full((2, 3, 4, 4), 6.0)
    found = averaged([fine, coarse])
    assert found.shape == (2, 8, 8, 3)
    torch.testing.assert_close(found, torch.full((2, 8, 8, 3), 3.0))
    slope = torch.arange(4.0).expand(1, 1, 4, 4)
    np.testing.assert_allclose(
        averaged([torch.zeros(1, 1, 8, 8), slope])[0, 0, :4, 0], [0, 0.125, 0.375, 0.625]
    )
