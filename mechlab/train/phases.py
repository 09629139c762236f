"""The phases of a stage: which groups move in an epoch, on which images, and how fast.

Source: notes 004 L774 (fast and slow stage); a stage without phases is one phase over all its epochs.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int

from mechlab.train.determinism import order
from mechlab.train.stage import Curriculum, Phase, Stage

_HELD = 1  # a fourth number of the seed, so that what is held out is drawn apart from the order of epochs


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One epoch of a stage, seen from its phase."""

    phase: int
    epoch: int  # of the phase, from 0
    epochs: int  # of the phase
    held_out: float  # fraction of the images

    def rate(self, stage: Stage, *, index: int, steps: int) -> float:
        """Return the learning rate of step `index` of `steps` of the epoch, as a fraction of the group's.

        Linear warm-up in the first phase, then the stage's decay; each phase begins anew.
        """
        if stage.decay != "cosine":
            is_fallen = stage.decay == "step" and self.epoch >= int(stage.step_at * self.epochs)
            return stage.final_learning_rate if is_fallen else 1.0
        warm_epochs = stage.warmup_epochs if self.phase == 0 else 0
        if stage.is_by_epoch:
            return self._rate_by_epoch(stage, warm=warm_epochs)
        warm = warm_epochs * steps
        step, total = self.epoch * steps + index, self.epochs * steps
        if step < warm:
            return (step + 1) / warm
        done = (step - warm) / max(1, total - warm - 1)
        return _cosine(done, last=stage.final_learning_rate)

    def _rate_by_epoch(self, stage: Stage, *, warm: int) -> float:
        """Return the rate of a whole epoch; a cosine starts after the warm-up, which does not shorten it.

        So with a warm-up the last rate is not reached (facts 2, tasks after the first).
        """
        if self.epoch < warm:
            return (self.epoch + 1) / warm
        return _cosine((self.epoch - warm) / self.epochs, last=stage.final_learning_rate)


def _cosine(done: float, *, last: float) -> float:
    return last + (1 - last) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def turn(stage: Stage, epoch: int) -> Turn:
    """Return what an epoch of a stage is; epochs count from 0 over all phases."""
    first = 0
    for number, phase in enumerate(stage.phases or (Phase(epochs=stage.epochs),)):
        if epoch < first + phase.epochs:
            return Turn(phase=number, epoch=epoch - first, epochs=phase.epochs, held_out=phase.held_out)
        first += phase.epochs
    raise ValueError(f"epoch {epoch} of a stage with {stage.epochs}")


def held(count: int, *, fraction: float, seed: int, task: int) -> Int[np.ndarray, " held"]:
    """Return the indices of the images that a phase does not visit: the same in each of its epochs."""
    number = min(count - 1, round(count * fraction))
    return np.sort(np.random.default_rng([seed, task, 0, _HELD]).permutation(count)[:number])


def batches(
    count: int,
    *,
    size: int,
    seed: int,
    task: int,
    epoch: int,
    held_out: float = 0.0,
    drops_last: bool = False,
    curriculum: Curriculum | None = None,
) -> list[Int[np.ndarray, " item"]]:
    """Return the index arrays of an epoch; each image but those held out is visited once.

    Under a curriculum, those of them that it visits in this epoch. The last batch may be smaller;
    `drops_last` leaves it out, unless it is the only one.
    """
    visited = order(count, seed=seed, task=task, epoch=epoch)
    visited = visited[~np.isin(visited, held(count, fraction=held_out, seed=seed, task=task))]
    if curriculum is not None:
        visited = visited[np.isin(visited, curriculum.visited(epoch))]
    # Sorted inside a batch: the loss does not depend on the order, and a memory map reads forwards.
    found = [np.sort(visited[start : start + size]) for start in range(0, len(visited), size)]
    return found[:-1] if drops_last and len(found) > 1 and len(found[-1]) < size else found


def settle(stage: Stage, optimizer: torch.optim.Optimizer, *, phase: int) -> None:
    """Let exactly the groups of a phase require gradients, so that an optimiser passes the others by."""
    for group, held_group in zip(stage.groups, optimizer.param_groups, strict=True):
        for parameter in held_group["params"]:
            parameter.requires_grad_(group.phase == phase)
