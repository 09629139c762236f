"""The loop: one task's epochs over frozen features, with observers that see each step.

Observers see; they never change. On several devices each rank runs this loop over its share of every batch
and takes the step of the whole batch (`mechlab.train.world`).
Source: design notes, "Training knows observers".
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import nn

from mechlab.errors import MechlabError
from mechlab.train.determinism import order
from mechlab.train.stage import Stage, Trainable, modules_of
from mechlab.train.world import ALONE, World, batch_loss, share, sum_gradients


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One optimiser step as observers see it."""

    step: int  # of the whole run, from 0
    task: int
    epoch: int
    items: Int[np.ndarray, " item"]  # indices into the task's training features; on a rank, of its share
    loss: float = math.nan  # of the whole batch, nats a patch; known after the step
    terms: dict[str, float] = field(default_factory=dict)
    learning_rate: float = math.nan
    gradient_norm: float = math.nan


@runtime_checkable
class Observer(Protocol):
    """What may watch a training: each method is called once a step in which the rank has an image."""

    def before(self, step: Step) -> None:
        """Called before the forward pass."""
        ...

    def after_backward(self, step: Step) -> None:
        """Called when the batch's gradients are there, of all ranks, and not yet clipped."""
        ...

    def after(self, step: Step) -> None:
        """Called after the optimiser step, with the loss."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where the loop starts within the task, and what it has seen."""

    epoch: int = 0
    step: int = 0
    losses: tuple[float, ...] = ()


def rate(stage: Stage, *, step: int, steps_an_epoch: int) -> float:
    """Return the learning rate of a step as a fraction of the group's: linear warm-up, then cosine."""
    warm, total = stage.warmup_epochs * steps_an_epoch, stage.epochs * steps_an_epoch
    if step < warm:
        return (step + 1) / warm
    done = (step - warm) / max(1, total - warm - 1)
    return stage.final_learning_rate + (1 - stage.final_learning_rate) * 0.5 * (
        1 + math.cos(math.pi * min(1.0, done))
    )


def batches(count: int, *, size: int, seed: int, task: int, epoch: int) -> list[Int[np.ndarray, " item"]]:
    """Return the index arrays of an epoch; every image is visited once, the last batch may be smaller."""
    visited = order(count, seed=seed, task=task, epoch=epoch)
    # Sorted inside a batch: the loss does not depend on the order, and a memory map reads forwards.
    return [np.sort(visited[start : start + size]) for start in range(0, count, size)]


def run_task(
    system: Trainable,
    features: Float[np.ndarray, "item row column dim"],
    *,
    task: int,
    seed: int,
    stage: Stage,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    start: Progress,
    observers: Sequence[Observer],
    after_epoch: Callable[[Progress], None],
    world: World = ALONE,
) -> Progress:
    """Train one task from `start` to its last epoch; a loss that is not finite stops the run, on every rank.

    Raises:
        MechlabError: a loss that is not finite, with the step at which it appeared.
    """
    module, losses, step = modules_of(system), list(start.losses), start.step
    base_rates = [group["lr"] for group in _initial(optimizer, stage)]
    per_epoch = math.ceil(len(features) / stage.batch_size)
    module.train()
    for epoch in range(start.epoch, stage.epochs):
        for index, items in enumerate(
            batches(len(features), size=stage.batch_size, seed=seed, task=task, epoch=epoch)
        ):
            fraction = rate(stage, step=epoch * per_epoch + index, steps_an_epoch=per_epoch)
            for group, base in zip(optimizer.param_groups, base_rates, strict=True):
                group["lr"] = base * fraction
            own = share(items, world)
            seen = Step(
                step=step, task=task, epoch=epoch, items=own.items, learning_rate=base_rates[0] * fraction
            )
            batch = torch.from_numpy(features[own.items]).to(device)
            watching = () if own.is_empty else observers
            done = _one_step(system, batch, seen, optimizer, stage, watching, world=world, weight=own.weight)
            losses.append(done.loss)
            step += 1
        after_epoch(Progress(epoch=epoch + 1, step=step, losses=tuple(losses)))
    return Progress(epoch=stage.epochs, step=step, losses=tuple(losses))


def _initial(optimizer: torch.optim.Optimizer, stage: Stage) -> list[dict[str, float]]:
    return [
        {"lr": group.learning_rate} for group, _ in zip(stage.groups, optimizer.param_groups, strict=True)
    ]


def _one_step(
    system: Trainable,
    batch: Float[torch.Tensor, "batch row column dim"],
    seen: Step,
    optimizer: torch.optim.Optimizer,
    stage: Stage,
    observers: Sequence[Observer],
    *,
    world: World,
    weight: float,
) -> Step:
    for observer in observers:
        observer.before(seen)
    optimizer.zero_grad(set_to_none=True)
    loss = system.loss(batch, task=seen.task)
    value, terms = batch_loss(world, loss, weight=weight)
    if not math.isfinite(value):
        raise MechlabError(
            f"the loss is {value} at step {seen.step} (task {seen.task}, epoch {seen.epoch}); "
            "lower the learning rate or check the features."
        )
    # Weighted before backward, so that what hooks see of a row is its part of the whole batch's gradient.
    (loss.total if world.size == 1 else loss.total * weight).backward()  # type: ignore[no-untyped-call]
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    sum_gradients(world, held)
    for observer in observers:
        observer.after_backward(seen)
    limit = math.inf if stage.clip_norm is None else stage.clip_norm
    norm = float(nn.utils.clip_grad_norm_(held, limit))
    optimizer.step()
    done = Step(step=seen.step, task=seen.task, epoch=seen.epoch, items=seen.items, loss=value, terms=terms,
                learning_rate=seen.learning_rate, gradient_norm=norm)  # fmt: skip
    for observer in observers:
        observer.after(done)
    return done
