"""What a system hands the training loop for one task: scopes, optimiser groups and a schedule.

Source: design notes, "Scope of a parameter".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.optim import Optimizer

from mechlab.specs import Precision
from mechlab.train.view import Drawing, View

Scope = Literal["frozen", "first-task", "per-task", "shared"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterGroup:
    """Parameters by name that share a learning rate (per step) and a decoupled weight decay."""

    parameters: tuple[str, ...]
    learning_rate: float
    weight_decay: float = 0.0
    phase: int = 0  # of the stage, in which they move


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Consecutive epochs in which the groups of one phase move; each phase has a schedule of its own."""

    epochs: int
    held_out: float = 0.0  # fraction of the task's images that it does not visit


@runtime_checkable
class UpdateRule(Protocol):
    """What changes an optimiser's step besides its gradients; bound to one optimiser."""

    def attach(self, optimizer: Optimizer, parameters: Mapping[str, nn.Parameter]) -> None:
        """Hook into a new optimiser; `parameters` are those of the module, by name."""
        ...


@runtime_checkable
class Curriculum(Protocol):
    """Which of a task's items an epoch visits, instead of all."""

    def visited(self, epoch: int) -> Int[np.ndarray, " item"]:
        """Return their indices, each once, for an epoch of the task from 0; at least one."""
        ...


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
    final_learning_rate: float = 0.01  # fraction of the learning rate at the last step, or after the fall
    decay: Literal["cosine", "constant", "step"] = "cosine"  # of the learning rate after the warm-up
    step_at: float = 0.8  # of "step": the share of the epochs after which the rate falls
    betas: tuple[float, float] = (0.9, 0.999)  # of the means of gradients and their squares; of adamw
    optimizer: Literal["adamw", "adamp"] = "adamw"
    is_by_epoch: bool = False  # the learning rate changes between epochs alone, as in the public code
    drops_last: bool = False  # a last batch that is smaller than the others is not visited
    drawing: Drawing = field(default_factory=Drawing)  # what of each image is drawn anew each epoch
    phases: tuple[Phase, ...] = ()  # none: one phase over all epochs
    rule: UpdateRule | None = None
    curriculum: Curriculum | None = None  # None: every epoch visits every item that it does not hold out
    unit: str = "nats a patch"  # of the loss, as the progress of an epoch tells it
    drawn_by: int | None = None  # what draws depend on beside the seed; None: the number of the task
    precision: Precision = "float32"  # of the products of a backward pass

    def __post_init__(self) -> None:
        """Refuse phases that do not add up to the stage, and betas that nothing reads."""
        if self.optimizer == "adamp" and self.betas != (0.9, 0.999):
            raise ValueError(f"adamp has betas of its own; {self.betas} would do nothing")
        if self.decay != "cosine" and (self.warmup_epochs or self.is_by_epoch):
            raise ValueError(f"a {self.decay} learning rate has no warm-up and knows whole epochs alone")
        if self.phases and sum(phase.epochs for phase in self.phases) != self.epochs:
            raise ValueError(f"phases of {[phase.epochs for phase in self.phases]} epochs in {self.epochs}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When a batch is seen: what a loss with a schedule or noise of its own depends on."""

    step: int  # of the whole run, from 0
    epoch: int  # of the task, from 0
    phase: int  # of the stage
    items: Int[np.ndarray, " item"]  # the batch's images among the task's
    view: View | None = None  # what was drawn of them


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


@runtime_checkable
class Sized(Protocol):
    """A system whose tasks may see images at sizes of their own: `create` takes their `grids`."""

    def route_by(self, task: int, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Store what routing needs of a task's normals, seen at the size at which tasks are compared."""
        ...


class Viewing(Protocol):
    """What the loop asks of a system whose stage draws."""

    def loss(self, batch: Float[Tensor, "batch row column dim"], *, task: int, view: View) -> Loss:
        """Return `Trainable.loss` of a batch as it was drawn, with the terms that need the view."""
        ...


@runtime_checkable
class Timed(Protocol):
    """A system whose loss depends on when a batch is seen."""

    def loss_at(self, batch: Float[Tensor, "batch row column dim"], *, task: int, moment: Moment) -> Loss:
        """Return the loss of a batch; `Trainable.loss` is that of the first moment."""
        ...


@runtime_checkable
class Readable(Protocol):
    """A system with numbers of its own for the log of epochs."""

    def readings(self, batch: Float[Tensor, "batch row column dim"], *, task: int) -> dict[str, float]:
        """Return e.g. gates and weights of a context by name, where they depend on images of a batch."""
        ...


@runtime_checkable
class Diagnosable(Protocol):
    """A system whose patch scores are made of a latent and a log-det."""

    def patch_terms(
        self, batch: Float[Tensor, "batch row column dim"], *, task: int
    ) -> tuple[Float[Tensor, "batch row column"], Float[Tensor, "batch row column"]]:
        """Return the length of each patch's latent and its log-det, nats, by a task's expert."""
        ...


@runtime_checkable
class Weighing(Protocol):
    """A system that weighs an image's score by more than its map, which stays as it is."""

    def image_weights(
        self,
        batch: Float[Tensor, "batch row column dim"],
        scores: Float[Tensor, "batch row column"],
        *,
        task: int,
    ) -> Float[Tensor, " batch"] | None:
        """Return the factor of each image's score given its patch scores; None: all are 1."""
        ...


@runtime_checkable
class Measured(Protocol):
    """A system whose patch scores are no nats."""

    score_unit: str


def unit_of(system: object) -> str:
    """Return the unit of a system's patch and image scores."""
    return system.score_unit if isinstance(system, Measured) else "nat"


def modules_of(system: Trainable) -> nn.Module:
    """Return the system as the module that it is."""
    if not isinstance(system, nn.Module):
        raise TypeError(f"{type(system).__name__} is no nn.Module")
    return system
