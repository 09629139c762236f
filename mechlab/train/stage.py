"""What a system hands the training loop for one task: scopes, optimiser groups and a schedule.

Source: design notes, "Scope of a parameter".
"""

from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

Scope = Literal["frozen", "first-task", "per-task", "shared"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterGroup:
    """Parameters by name that share a learning rate (per step) and a decoupled weight decay."""

    parameters: tuple[str, ...]
    learning_rate: float
    weight_decay: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One task's training: which parameters move, how fast, for how long.

    `scopes` names every parameter of the module; those of scope "frozen" are in no group.
    """

    scopes: dict[str, Scope]
    groups: tuple[ParameterGroup, ...]
    epochs: int
    batch_size: int
    clip_norm: float | None = None  # largest gradient norm; None does not clip
    warmup_epochs: int = 0  # linear warm-up, then cosine
    final_learning_rate: float = 0.01  # fraction of the learning rate at the last step


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """The scalar that is differentiated, and its parts for the log."""

    total: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]] = field(default_factory=dict)


@runtime_checkable
class Trainable(Protocol):
    """What the loop asks of a system: an `nn.Module` whose tasks come one after another."""

    def add_task(self, task: int) -> None:
        """Create the task's parameters, seeded by the run's seed and the task alone."""
        ...

    def prepare(self, task: int, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Set what depends on the training normals before the first step."""
        ...

    def stage(self, task: int) -> Stage:
        """Return the task's training."""
        ...

    def loss(self, batch: Float[Tensor, "batch row column dim"], *, task: int) -> Loss:
        """Return the loss of a batch: a mean over its images, whatever each image gives.

        So a batch's loss is the weighted sum of its parts' losses, which is what several devices rely on.
        """
        ...

    def finish_task(self, task: int, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Store what routing needs of the training normals."""
        ...

    def patch_scores(
        self, batch: Float[Tensor, "batch row column dim"], *, task: int
    ) -> Float[Tensor, "batch row column"]:
        """Return anomaly scores of the patches given a task id."""
        ...

    def task_distances(
        self, batch: Float[Tensor, "batch row column dim"], *, router: str
    ) -> Float[Tensor, "batch task"]:
        """Return the router's distance of each image to each task; the least wins.

        Or a term, which a router of `mechlab.runs.router` adds to a distance.
        """
        ...


def modules_of(system: Trainable) -> nn.Module:
    """Return the system as the module that it is."""
    if not isinstance(system, nn.Module):
        raise TypeError(f"{type(system).__name__} is no nn.Module")
    return system
