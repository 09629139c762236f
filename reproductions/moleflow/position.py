"""Where a patch stands: the two-dimensional sine embedding.

Source: notes 004 L2579; facts 1.2 (base 10,000; the first half of the channels tells the column, the second
the row; sine and cosine interleaved).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from mechlab.errors import MechlabError


def sine_embedding(grid: tuple[int, int], *, dim: int) -> Float[Tensor, "row column dim"]:
    """Return the embedding of each place of a grid, amplitude 1.

    Raises:
        MechlabError: `dim` is not divisible by 4.
    """
    if dim % 4 or dim <= 0:
        raise MechlabError(
            f"a sine position of {dim} channels is not possible; use a multiple of 4, or position=none."
        )
    rows, columns = grid
    rates = torch.exp(torch.arange(0, dim // 2, 2, dtype=torch.float64) * (-math.log(10_000.0) / (dim // 2)))

    def along(count: int) -> Float[Tensor, "place half"]:
        angles = torch.arange(count, dtype=torch.float64)[:, None] * rates
        return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)

    across = along(columns)[None].expand(rows, -1, -1)
    down = along(rows)[:, None].expand(-1, columns, -1)
    return torch.cat([across, down], dim=-1).float()
