"""Where a patch stands: the two-dimensional sine embedding.

Source: notes 004 L2579; facts 1.2 (base 10,000; the first half of the channels tells the column, the second
the row; sine and cosine interleaved).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from reproductions.moleflow.view_rules import refuse_sine


def sine_embedding(grid: tuple[int, int], *, dim: int) -> Float[Tensor, "row column dim"]:
    """Return the embedding of each place of a grid, amplitude 1.

    Raises:
        MechlabError: `dim` is not divisible by 4.
    """
    rows, columns = (torch.arange(count, dtype=torch.float64) for count in grid)
    return _embedded(rows[:, None].expand(grid), columns.expand(grid), dim=dim)


def turned_embedding(
    grid: tuple[int, int], angles: Float[Tensor, " batch"], *, dim: int
) -> Float[Tensor, "batch row column dim"]:
    """Return the embedding of a grid that is turned with its image, degrees counter-clockwise.

    Each place has the embedding of where the angle took its content from, so that content keeps its position;
    between the places of the grid it is exact, not interpolated.
    """
    rows, columns = (torch.arange(count, dtype=torch.float64) - (count - 1) / 2 for count in grid)
    down, right = torch.meshgrid(rows, columns, indexing="ij")
    radians = torch.deg2rad(angles.double().cpu())[:, None, None]
    from_down = right * radians.sin() + down * radians.cos() + (grid[0] - 1) / 2
    from_right = right * radians.cos() - down * radians.sin() + (grid[1] - 1) / 2
    return _embedded(from_down, from_right, dim=dim).to(angles.device)


def _embedded(
    down: Float[Tensor, "*place"], right: Float[Tensor, "*place"], *, dim: int
) -> Float[Tensor, "*place dim"]:
    refuse_sine(dim)
    rates = torch.exp(torch.arange(0, dim // 2, 2, dtype=torch.float64) * (-math.log(10_000.0) / (dim // 2)))

    def along(count: Float[Tensor, "*place"]) -> Float[Tensor, "*place half"]:
        angles = count[..., None] * rates
        return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)

    return torch.cat([along(right), along(down)], dim=-1).float()
