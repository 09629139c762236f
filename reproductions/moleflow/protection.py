"""What protects earlier tasks where tasks share parameters that train on, as one part of the system.

When a task ends it remembers; while a later one trains it adds terms to the loss, or changes the optimiser's
steps. All that is remembered is in `Memory`, so in the checkpoint. Source: notes 004 L1179, L1451.
"""

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from mechlab.train.stage import Moment
from mechlab.train.view import View
from reproductions.moleflow.combinations import refuse_small_bank
from reproductions.moleflow.config import MoLEFlowConfig
from reproductions.moleflow.consolidation import consolidation_penalty, remember_weights
from reproductions.moleflow.distillation import distillation_loss, remember_teacher
from reproductions.moleflow.losses import patch_nll
from reproductions.moleflow.memory import Memory
from reproductions.moleflow.projection import Projection, refuse_few_batches, remember_directions
from reproductions.moleflow.replay import remember_images, replayed
from reproductions.moleflow.scopes import shared_names


class Protection:
    """The protecting parts of one configuration, with what they remember."""

    def __init__(self, config: MoLEFlowConfig, memory: Memory, *, seed: int) -> None:
        self.config, self.memory, self.seed = config, memory, seed
        is_on = config.projection != "none"
        self.rule = Projection(memory, config.projection) if is_on else None

    def check(self, task: int, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Refuse, before a task is trained, what could not be remembered of it.

        Raises:
            MechlabError: too few batches of gradients, or a bank too small for its tasks.
        """
        config = self.config
        if self.rule is not None:
            refuse_few_batches(
                len(features), size=config.batch_size, images=config.projection_images, task=task
            )
        if config.replay_images:
            refuse_small_bank(config.replay_images, tasks=task + 1)

    def immovable(self, system: nn.Module) -> frozenset[str]:
        """Return the parameters that the projection leaves no direction to move in."""
        return frozenset() if self.rule is None else self.rule.saturated(dict(system.named_parameters()))

    def remember(
        self, system: nn.Module, features: Float[np.ndarray, "item row column dim"], *, task: int
    ) -> None:
        """Keep what later tasks need of a task that has ended."""
        config, memory = self.config, self.memory
        names = shared_names(system, config)
        if self.rule is not None and names:
            remember_directions(memory, system, features, task=task, names=names, size=config.batch_size,
                                threshold=config.projection_threshold, rank=config.projection_rank,
                                images=config.projection_images)  # fmt: skip
        if config.ewc_weight and names:
            remember_weights(memory, system, features, task=task, names=names, images=config.ewc_images)
        if config.distillation_weight:
            remember_teacher(memory, system, names=names)
        if config.replay_images:
            remember_images(memory, features, task=task, images=config.replay_images, seed=self.seed)

    def terms(
        self,
        system: nn.Module,
        batch: Float[Tensor, "batch row column dim"],
        *,
        task: int,
        moment: Moment,
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the weighted terms of a later task's loss, nats a patch; earlier tasks take turns."""
        config, memory = self.config, self.memory
        found: dict[str, Float[Tensor, ""]] = {}
        if task == 0:
            return found
        earlier = moment.step % task
        if config.ewc_weight and memory.names("anchor"):
            penalty = consolidation_penalty(memory, dict(system.named_parameters()))
            found["ewc"] = config.ewc_weight * penalty
        seen = batch
        if config.replay_images:
            # As many on every rank, so that several devices take the step of one.
            seen = replayed(memory, task=earlier, size=config.batch_size, seed=self.seed, step=moment.step)
            flowed = system(seen, task=earlier)
            found["replay"] = config.replay_weight * patch_nll(flowed.latent, flowed.log_det).mean()
        if config.distillation_weight:
            loss = distillation_loss(memory, system, seen, task=earlier)
            found["distillation"] = config.distillation_weight * loss
        return found

    def readings(self) -> dict[str, float]:
        """Return what the log of epochs tells of it."""
        found = {} if self.rule is None else self.rule.readings()
        if self.config.replay_images:
            found["replay_megabytes"] = self.memory.bytes("bank") / 2**20
        return found


def first_moment(batch: Float[Tensor, "batch row column dim"], *, view: View | None) -> Moment:
    """Return the moment of a batch that is seen outside a training: as if it came first."""
    return Moment(step=0, epoch=0, phase=0, items=np.arange(len(batch)), view=view)
