"""How features learn where they stand: not at all, by the sine embedding, or by as much as a task wants.

`place` is the embedding of the grid, or of the grid turned with each image. None of this is in the log-det:
additions that do not depend on x leave it as it is, and the score is -log p of what comes out of the others.
Source: notes 004 L2579 (sine), L3103 and L3233 (strength a task).
"""

from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

Features = Float[Tensor, "batch row column dim"]
Place = Float[Tensor, "*batch row column place"]


class Placing(Protocol):
    """A module from features and embeddings to placed features."""

    def add_task(self, task: int) -> None:
        """Create what the task has of its own."""
        ...

    def fit(self, task: int, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Set what depends on the task's training normals."""
        ...


class NoPlacing(nn.Module):
    """Features as they are; the subnets may still be told the place."""

    def add_task(self, task: int) -> None:
        """Do nothing."""

    def fit(self, task: int, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Do nothing."""

    def forward(self, x: Features, place: Place, *, task: int) -> Features:
        """Return x."""
        return x


class SinePlacing(NoPlacing):
    """x + embedding, once."""

    def forward(self, x: Features, place: Place, *, task: int) -> Features:
        """Add the embedding."""
        return x + place


class TaskStrength(NoPlacing):
    """x + sigmoid(level) · embedding with a level a task, trained with the task ("TAPE").

    The notes find that the level does not move at the rate of the other parameters (L3198) and give it 100
    times that (L3233): `place_level` is an optimiser group of its own.
    """

    def __init__(self, *, initial: float) -> None:
        super().__init__()
        self.initial = initial
        self.place_level = nn.ParameterDict()

    def add_task(self, task: int) -> None:
        """Create the task's level."""
        self.place_level[str(task)] = nn.Parameter(torch.tensor([self.initial]))

    def strength(self, task: int) -> Float[Tensor, ""]:
        """Return how much of the embedding the task takes, in (0, 1)."""
        return torch.sigmoid(self.place_level[str(task)]).squeeze()

    def forward(self, x: Features, place: Place, *, task: int) -> Features:
        """Add the task's share of the embedding."""
        return x + self.strength(task) * place
