"""The loop: one task's epochs over frozen features, with observers that see each step.

Observers see; they never change. On several devices each rank runs this loop over its share of every batch
and takes the step of the whole batch (`mechlab.train.world`).
Source: design notes, "Training knows observers".
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, cast, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import nn

from mechlab.errors import MechlabError
from mechlab.train.drawn import DrawnBatches
from mechlab.train.heap import Heap
from mechlab.train.phases import batches, held, settle, turn
from mechlab.train.precision import products_behind
from mechlab.train.rows import FeatureRows
from mechlab.train.stage import Loss, Moment, Stage, Timed, Trainable, Viewing, modules_of
from mechlab.train.view import View
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
    learning_rate: float = math.nan  # of the first group that moves
    gradient_norm: float = math.nan
    phase: int = 0  # of the stage


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
    held_out_loss: float | None = None  # of the images that the last epoch did not visit, where it left any


def run_task(
    system: Trainable,
    features: FeatureRows,
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
    drawn: DrawnBatches | None = None,
) -> Progress:
    """Train one task from `start` to its last epoch; a loss that is not finite stops the run, on every rank.

    `drawn` gives the batches where the stage draws them anew each epoch.

    Raises:
        MechlabError: a loss that is not finite, with the step at which it appeared.
    """
    module, losses, step, heap = modules_of(system), list(start.losses), start.step, Heap()
    number = task if stage.drawn_by is None else stage.drawn_by
    module.train()
    for epoch in range(start.epoch, stage.epochs):
        now = turn(stage, epoch)
        settle(stage, optimizer, phase=now.phase)
        drawn_items = batches(len(features), size=stage.batch_size, seed=seed, task=number, epoch=epoch,
                              held_out=now.held_out, drops_last=stage.drops_last,
                              curriculum=stage.curriculum)  # fmt: skip
        for index, items in enumerate(drawn_items):
            fraction = now.rate(stage, index=index, steps=len(drawn_items))
            own = share(items, world)
            seen = Step(step=step, task=task, epoch=epoch, items=own.items, phase=now.phase,
                        learning_rate=_set_rates(optimizer, stage, fraction, phase=now.phase))  # fmt: skip
            batch, view = _batch(features, own.items, drawn, epoch=epoch, device=device)
            watching = () if own.is_empty else observers
            done = _one_step(system, batch, seen, optimizer, stage, watching, world=world, weight=own.weight,
                             view=view, heap=heap)  # fmt: skip
            losses.append(done.loss)
            step += 1
        away = held(len(features), fraction=now.held_out, seed=seed, task=number)
        unseen = None
        if len(away):
            batch, view = _batch(features, away, drawn, epoch=epoch, device=device)
            then = Step(step=step, task=task, epoch=epoch, items=away, phase=now.phase)
            unseen = _held_out_loss(system, batch, then, view)
        after_epoch(Progress(epoch=epoch + 1, step=step, losses=tuple(losses), held_out_loss=unseen))
    return Progress(epoch=stage.epochs, step=step, losses=tuple(losses))


def _batch(
    features: FeatureRows,
    items: Int[np.ndarray, " own"],
    drawn: DrawnBatches | None,
    *,
    epoch: int,
    device: torch.device,
) -> tuple[Float[torch.Tensor, "own row column dim"], View | None]:
    if drawn is None:
        return torch.from_numpy(features[items]).to(device), None
    return drawn.batch(items, epoch=epoch, device=device)


def _set_rates(optimizer: torch.optim.Optimizer, stage: Stage, fraction: float, *, phase: int) -> float:
    """Set each group's learning rate and return that of the first group that moves."""
    for group, held_group in zip(stage.groups, optimizer.param_groups, strict=True):
        held_group["lr"] = group.learning_rate * fraction
    return next((group.learning_rate * fraction for group in stage.groups if group.phase == phase), math.nan)


def _loss(
    system: Trainable, batch: Float[torch.Tensor, "batch row column dim"], seen: Step, view: View | None
) -> Loss:
    if isinstance(system, Timed):
        now = Moment(step=seen.step, epoch=seen.epoch, phase=seen.phase, items=seen.items, view=view)
        return system.loss_at(batch, task=seen.task, moment=now)
    if view is None:
        return system.loss(batch, task=seen.task)
    return cast(Viewing, system).loss(batch, task=seen.task, view=view)


def _held_out_loss(
    system: Trainable, batch: Float[torch.Tensor, "batch row column dim"], then: Step, view: View | None
) -> float:
    module = modules_of(system)
    module.eval()
    with torch.no_grad():
        value = float(_loss(system, batch, then, view).total)
    module.train()
    return value


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
    view: View | None,
    heap: Heap,
) -> Step:
    for observer in observers:
        observer.before(seen)
    optimizer.zero_grad(set_to_none=True)
    loss = _loss(system, batch, seen, view)
    value, terms = batch_loss(world, loss, weight=weight)
    heap.tidy()
    if not math.isfinite(value):
        raise MechlabError(
            f"the loss is {value} at step {seen.step} (task {seen.task}, epoch {seen.epoch}); "
            "lower the learning rate or check the features."
        )
    # Weighted before backward, so that what hooks see of a row is its part of the whole batch's gradient.
    with products_behind(stage.precision):
        (loss.total if world.size == 1 else loss.total * weight).backward()  # type: ignore[no-untyped-call]
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    sum_gradients(world, held)
    for observer in observers:
        observer.after_backward(seen)
    limit = math.inf if stage.clip_norm is None else stage.clip_norm
    norm = float(nn.utils.clip_grad_norm_(held, limit))
    optimizer.step()
    done = replace(seen, loss=value, terms=terms, gradient_norm=norm)
    for observer in observers:
        observer.after(done)
    return done
