"""The grids of patches: the run's, and those of tasks that see their images at a size of their own.

What a task has of its own is built for its grid. What tasks share must know no grid, or the one that it knows
would be wrong for some of them. Source: notes 004 L2670 (M42: resolution by task).
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mechlab.train.view import View
from reproductions.moleflow.config import MoLEFlowConfig
from reproductions.moleflow.grid_rules import Grid
from reproductions.moleflow.position import sine_embedding, turned_embedding


class Grids(nn.Module):
    """The embedding of each grid: buffers that are made anew, never stored."""

    def __init__(self, config: MoLEFlowConfig, run: Grid, own: Mapping[int, Grid], *, dim: int) -> None:
        """Make the embeddings of the run's grid and of tasks' own, over the channels that `config` asks for.

        Raises:
            MechlabError: channels that a sine embedding cannot have.
        """
        super().__init__()
        self.run, self.own, self.turns = run, dict(own), config.position_turns
        self.is_condition = config.position == "condition"
        self.channels = {"none": 0, "condition": config.position_dim}.get(config.position, dim)
        for grid in sorted({run, *self.own.values()}):
            place = sine_embedding(grid, dim=self.channels) if self.channels else torch.zeros(*grid, 0)
            self.register_buffer(_name(grid), place, persistent=False)

    def of(self, task: int) -> Grid:
        """Return the grid on which a task sees its images."""
        return self.own.get(task, self.run)

    def embedding(self, *, task: int, view: View | None = None) -> Float[Tensor, "*batch row column place"]:
        """Return the embedding of a task's grid, or of that grid turned with each image of a view."""
        place: Float[Tensor, "row column place"] = getattr(self, _name(self.of(task)))
        if view is None or not self.turns:
            return place
        return turned_embedding(self.of(task), view.angles, dim=self.channels).to(place.dtype)

    def condition(
        self, batch: int, *, task: int, view: View | None = None
    ) -> Float[Tensor, "{batch} row column place"] | None:
        """Return what the subnets are told of the places of a batch of images; None where they are not."""
        if not self.is_condition:
            return None
        return self.embedding(task=task, view=view).expand(batch, -1, -1, -1)


def _name(grid: Grid) -> str:
    return f"place_{grid[0]}x{grid[1]}"
