"""Distances of images to tasks by a router's words, composed of what any system can tell.

Whatever the router, a distance is one number an image: no image sees the others of its batch. Experts are
asked as they are; an ablation or a patch changes scores, not routes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mechlab.errors import MechlabError, unknown
from mechlab.runs.router import ORACLE, Router
from mechlab.stats.gate import Gate
from mechlab.stats.prototypes import prototypes
from mechlab.train.stage import Trainable


@runtime_checkable
class Normals(Protocol):
    """What a run's inputs tell of the training normals."""

    tasks: tuple[tuple[str, ...], ...]
    image_size: int  # pixels, square

    def fitting(self, task: int) -> Float[np.ndarray, "item row column dim"]:
        """Return the features of the normals that a task is trained on."""
        ...

    def held_out(self, class_name: str) -> Float[np.ndarray, "item row column dim"]:
        """Return the features of the normals that no training sees."""
        ...


@dataclass(frozen=True, slots=True)
class Routing:
    """A router with what it needs of the training normals."""

    router: Router
    centres: tuple[Float[np.ndarray, "prototype dim"], ...] = ()  # of each task, for prototypes
    gate: Gate | None = None
    limits: tuple[float, ...] = ()  # distance that each task accepts; none rejects nothing

    @classmethod
    def of(cls, words: str, normals: Normals, *, tasks: int) -> "Routing":
        """Return the router of some words; prototypes and gates are found anew, from the tasks' normals.

        Raises:
            MechlabError: words of no router, or more prototypes than a task has normals.
        """
        router = Router.read(words)
        if router.gate is not None:
            return cls(router, gate=Gate.of([_means(normals, task) for task in range(tasks)],
                                            learning=router.gate))  # fmt: skip
        if router.prototypes is None:
            return cls(router)
        return cls(router, tuple(_centres(normals, task, router.prototypes) for task in range(tasks)))

    @property
    def is_oracle(self) -> bool:
        """Whether the true task id is taken."""
        return self.router.base == ORACLE

    def distances(
        self, system: Trainable, batch: Float[Tensor, "batch row column dim"], *, tasks: int
    ) -> Float[Tensor, "batch task"]:
        """Return the distance of each image to each of the first tasks, float64; the least wins.

        Infinite for a task that did not reach the second stage. Units: nats a patch for likelihood, nats for
        a gate, nats a channel for entropy, squared distances with log_det, else those of `task_distances`.
        """
        router = self.router
        found = self._base(system, batch, tasks=tasks)
        if router.candidates is not None:
            count = min(router.candidates, tasks)
            near = torch.zeros_like(found, dtype=torch.bool)
            near.scatter_(1, found.topk(count, dim=1, largest=False).indices, True)
            return likelihood_distances(system, batch, near=near)
        if router.term is None:
            return found
        term = system.task_distances(batch, router=router.term)[:, :tasks].double()
        return (found**2 if router.term == "log_det" else found) + router.weight * term

    def _base(
        self, system: Trainable, batch: Float[Tensor, "batch row column dim"], *, tasks: int
    ) -> Float[Tensor, "batch task"]:
        if self.router.base == "likelihood":
            near = torch.ones(len(batch), tasks, dtype=torch.bool, device=batch.device)
            return likelihood_distances(system, batch, near=near)
        if self.router.base == "prototypes":
            return prototype_distances(batch, self.centres[:tasks])
        if self.gate is not None:
            means = batch.double().mean(dim=(1, 2))
            return torch.from_numpy(self.gate.surprise(means.cpu().numpy())).to(means.device)[:, :tasks]
        return system.task_distances(batch, router=self.router.base)[:, :tasks].double()


def likelihood_distances(
    system: Trainable, batch: Float[Tensor, "batch row column dim"], *, near: Tensor
) -> Float[Tensor, "batch task"]:
    """Return each image's mean patch score by the experts that `near` (batch, task) names, else infinity."""
    found = torch.full(near.shape, torch.inf, dtype=torch.float64, device=batch.device)
    for task in range(near.shape[1]):
        if near[:, task].any():
            scores = system.patch_scores(batch[near[:, task]], task=task)
            found[near[:, task], task] = scores.double().mean(dim=(1, 2))
    return found


def prototype_distances(
    batch: Float[Tensor, "batch row column dim"], centres: Sequence[Float[np.ndarray, "prototype dim"]]
) -> Float[Tensor, "batch task"]:
    """Return the distance of each image's mean feature to the nearest prototype of each task."""
    means = batch.double().mean(dim=(1, 2))
    found = []
    for own in centres:
        away = means[:, None] - torch.from_numpy(own).to(means.device)  # batch, prototype, dim
        found.append(away.square().sum(dim=-1).sqrt().amin(dim=1))
    return torch.stack(found, dim=1)


def centre_distances(
    means: Float[Tensor, "batch dim"], centres: Sequence[Float[Tensor, " dim"]], *, router: str, system: str
) -> Float[Tensor, "batch task"]:
    """Return the Euclidean distance of each image's mean to each task's centre: all that some systems tell.

    Raises:
        MechlabError: a router other than "euclidean".
        ValueError: the oracle, which takes the true id and has no distances.
    """
    if router == "oracle":
        raise ValueError("the oracle takes the true task id; it has no distances")
    if router != "euclidean":
        raise unknown(f"router of {system}", router, ("euclidean", "prototypes:P", "likelihood", "oracle"))
    found: Tensor = torch.linalg.vector_norm(means[:, None] - torch.stack(list(centres)), dim=2)
    return found


def _centres(normals: Normals, task: int, count: int) -> Float[np.ndarray, "prototype dim"]:
    try:
        return prototypes(_means(normals, task), count)
    except ValueError as fault:
        raise MechlabError(
            f"router prototypes:{count} asks for more than task {task} can give ({fault}); ask for fewer."
        ) from fault


def _means(normals: Normals, task: int) -> Float[np.ndarray, "item dim"]:
    return np.stack([item.astype(np.float64).mean(axis=(0, 1)) for item in normals.fitting(task)])
