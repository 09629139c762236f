"""MoLE-Flow as the loop drives it: features → position → adapter → mixer → flow + LoRA → DIA → -log p.

The task is an argument of every call. Once the first task has ended, nothing that tasks share changes,
unless `base` is "shared". Source: notes 004 L2571 on, facts 1.2.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mechlab.errors import unknown
from mechlab.specs import validated
from mechlab.train.stage import Loss, Moment, Stage
from mechlab.train.view import View
from reproductions.moleflow.alignment import turned
from reproductions.moleflow.assembly import (
    adapter_of,
    aligner_of,
    coupling_blocks,
    dia_of,
    mixer_of,
    placing_of,
)
from reproductions.moleflow.combinations import refuse_unbuildable
from reproductions.moleflow.config import MoLEFlowConfig
from reproductions.moleflow.flowed import Flowed
from reproductions.moleflow.grids import Grids
from reproductions.moleflow.initialisation import BASE
from reproductions.moleflow.memory import Memory
from reproductions.moleflow.objective import training_loss
from reproductions.moleflow.own_config import own_configs
from reproductions.moleflow.protection import Protection, first_moment
from reproductions.moleflow.readings import gate_readings, part_readings
from reproductions.moleflow.routing import ROUTERS, TaskStatistics, latent_entropy
from reproductions.moleflow.score_matching import matched
from reproductions.moleflow.scorer import scorer_of
from reproductions.moleflow.scoring import further_terms, scored, turned_scores
from reproductions.moleflow.staging import plain, stage_of
from reproductions.moleflow.starts import numbers, stand_at
from reproductions.moleflow.unwatched import unwatched


class MoLEFlow(nn.Module):
    """The system. Use `create`."""

    def __init__(
        self, config: MoLEFlowConfig, grids: Grids, starts: Mapping[int, int], *, dim: int, seed: int
    ) -> None:
        super().__init__()
        self.config, self.dim, self.grids, self.grid, self.seed = config, dim, grids, grids.run, seed
        self.own_configs, self.starts = own_configs(config), starts
        self.aligner = nn.ModuleDict()
        self.position = placing_of(config, self.place, seed=seed)
        self.adapter = nn.ModuleDict()
        self.mixer = mixer_of(config, dim=dim, grid=self.grid, seed=seed)
        self.adapted = nn.Identity()  # a place to look: the flow's input
        is_shared = config.base != "per-task"
        self.flow = self._new_flow() if is_shared else nn.ModuleList()
        self.own = nn.ModuleDict()  # whole flows of tasks, where nothing is shared
        self.dia = nn.ModuleDict()
        self.latent = nn.Identity()  # a place to look: what is scored
        self.scorer = nn.ModuleDict()
        self.router = nn.ModuleDict()
        self.memory = Memory()
        self.protection = Protection(config, self.memory, seed=seed)

    @classmethod
    def create(
        cls,
        parts: dict[str, Any],
        *,
        dim: int,
        grid: tuple[int, int],
        seed: int,
        grids: Mapping[int, tuple[int, int]] | None = None,
        classes: Sequence[Sequence[str]] = (),
    ) -> "MoLEFlow":
        """Build the system without tasks from a preset's parts, `dim` channels and a grid of (rows, columns).

        `grids` are those of the tasks that see their images at a size of their own; `classes`, those of each
        task, are read with starts=classes alone.

        Raises:
            MechlabError: an unknown key, a value outside its range, or sizes that do not fit.
        """
        config, own = validated(MoLEFlowConfig, parts, what="moleflow"), grids or {}
        refuse_unbuildable(config, dim=dim, grid=grid, own=own)
        return cls(config, Grids(config, grid, own, dim=dim), numbers(config, classes), dim=dim, seed=seed)

    @property
    def place(self) -> Float[Tensor, "row column place"]:
        """The embedding of the run's grid."""
        return self.grids.embedding(task=BASE)

    def config_of(self, task: int) -> MoLEFlowConfig:
        """Return a task's configuration: the run's, with what the task has of its own."""
        return self.own_configs.get(task, self.config)

    def _new_flow(self) -> nn.ModuleList:
        return coupling_blocks(self.config, dim=self.dim, grid=self.grid, seed=self.seed)

    def start_of(self, task: int) -> int:
        """Return the number that a task's draws depend on beside the seed: its own unless starts=classes."""
        return self.starts.get(task, task)

    def blocks(self, task: int) -> nn.ModuleList:
        """Return the coupling blocks that a task's features go through."""
        chosen = self.own[str(task)] if self.config.base == "per-task" else self.flow
        assert isinstance(chosen, nn.ModuleList)
        return chosen

    def add_task(self, task: int) -> None:
        """Create the task's parameters; their start depends on the seed and the task alone."""
        config, key, start = self.config_of(task), str(task), self.start_of(task)
        if key in self.adapter:
            raise ValueError(f"task {task} exists")
        device = self.place.device
        grid = self.grids.of(task)
        self.adapter[key] = adapter_of(config, dim=self.dim, grid=grid, task=start, seed=self.seed)
        self.aligner[key] = aligner_of(config, dim=self.dim, task=start, seed=self.seed)
        self.position.add_task(task)
        self.mixer.add_task(task)
        if config.base == "per-task":
            self.own[key] = self._new_flow()  # each begins where the first one began
        if task > 0 or config.lora_first_task:
            for block in self.blocks(task):
                block.add_task(start)
                stand_at(block, task, drawn_as=start)
        self.dia[key] = dia_of(config, dim=self.dim, task=start, seed=self.seed)
        self.scorer[key] = scorer_of(config, dim=self.dim, task=start, seed=self.seed)
        self.router[key] = TaskStatistics(self.dim)
        self.to(device)

    def prepare(self, task: int, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Fit what the task takes from its training normals in closed form.

        Raises:
            MechlabError: normals too few for what shall be remembered of them.
        """
        self.protection.check(task, features)
        self.position.fit(task, features)
        self.adapter[str(task)].fit(features)

    def stage(self, task: int) -> Stage:
        """Return the task's training: its own parameters, and what tasks share if it is the first."""
        held = self.protection.immovable(self)
        return stage_of(self, self.config_of(task), task=task, rule=self.protection.rule, held=held,
                        drawn_by=self.starts.get(task))  # fmt: skip

    def forward(
        self, batch: Float[Tensor, "batch row column dim"], *, task: int, view: View | None = None
    ) -> Flowed:
        """Adapt features and map them to the latent side by the task's expert."""
        return self.to_latent(self.adapt(batch, task=task, view=view), task=task, view=view)

    def to_latent(
        self, adapted: Float[Tensor, "batch row column dim"], *, task: int, view: View | None = None
    ) -> Flowed:
        """Map adapted features to the latent side: the map whose log-det is exact."""
        z, place = adapted, self.grids.condition(len(adapted), task=task, view=view)
        log_dets = []
        for block in self.blocks(task):
            z, log_det = block(z, place, task=task)
            log_dets.append(log_det)
        for block in self.dia[str(task)]:
            z, log_det = block(z)
            log_dets.append(log_det)
        blocks = torch.stack(log_dets, dim=-1) if log_dets else z.new_zeros(*z.shape[:3], 0)
        return Flowed(self.latent(z), blocks.sum(dim=-1), blocks, adapted)

    def adapt(
        self,
        batch: Float[Tensor, "batch row column dim"],
        *,
        task: int,
        view: View | None = None,
        is_placed: bool = True,
        quarters: int = 0,
    ) -> Float[Tensor, "batch row column dim"]:
        """Return the flow's input: features turned upright, with position, adapted and mixed.

        `quarters` turns them between position and adapter, on a square grid.
        """
        if str(task) not in self.adapter:
            raise ValueError(f"no task {task}: add_task comes first")
        if tuple(batch.shape[1:]) != (wanted := (*self.grids.of(task), self.dim)):
            raise ValueError(f"features of {tuple(batch.shape[1:])}, a system of {wanted}")
        angles = self.aligner[str(task)].angles(batch)
        upright = batch if angles is None else turned(batch, angles)
        embedding = self.grids.embedding(task=task, view=view)
        placed = self.position(upright, embedding, task=task) if is_placed else upright
        placed = torch.rot90(placed, quarters, (1, 2)) if quarters else placed
        return self.adapted(self.mixer(self.adapter[str(task)](placed), task=task))

    def inverse(
        self, latent: Float[Tensor, "batch row column dim"], *, task: int
    ) -> Float[Tensor, "batch row column dim"]:
        """Return the adapted features behind a latent: DIA backwards first, then the flow backwards."""
        x, place = latent, self.grids.condition(len(latent), task=task)
        for block in reversed(self.dia[str(task)]):
            x = block.inverse(x)
        for block in reversed(self.blocks(task)):
            x = block.inverse(x, place, task=task)
        return x

    def loss(
        self, batch: Float[Tensor, "batch row column dim"], *, task: int, view: View | None = None
    ) -> Loss:
        """Return the training loss of a batch and its terms, all in nats a patch.

        `view` tells how the batch's images were turned, and holds their pseudo-anomalies for the margin loss.
        """
        return self.loss_at(batch, task=task, moment=first_moment(batch, view=view))

    def loss_at(self, batch: Float[Tensor, "batch row column dim"], *, task: int, moment: Moment) -> Loss:
        """Return `loss` at a moment of the training: noise, schedules, phases and replay depend on it."""
        flowed = self(batch, task=task, view=moment.view)
        with unwatched(self):  # what is recorded of a step is of its batch alone
            extra = self.protection.terms(self, batch, task=task, moment=moment) if self.training else {}
        if moment.phase == 0:
            found = self.nll_loss(flowed, task=task)
            with unwatched(self):
                found = matched(self, found, flowed, task=task, moment=moment)
                extra |= further_terms(self, batch, flowed, found, task=task, view=moment.view)
        else:  # the slow stage
            found = training_loss(plain(self.config_of(task)), latent=flowed.latent, log_det=flowed.log_det)
        return Loss(total=sum(extra.values(), start=found.total), terms=found.terms | extra)

    def nll_loss(self, flowed: Flowed, *, task: int) -> Loss:
        """Return the loss of one pass through the flow."""
        away = None  # how far the first task's adapter is from the identity, where that counts
        if task == 0 and self.config.identity_weight:
            away = self.adapter["0"].distance_from_identity()
        return training_loss(self.config_of(task), latent=flowed.latent, log_det=flowed.log_det, away=away)

    def readings(self, batch: Float[Tensor, "batch row column dim"], *, task: int) -> dict[str, float]:
        """Return gates, weights of contexts and what is remembered, for the log of epochs."""
        gates = gate_readings(self, batch, task=task)
        return part_readings(self, task=task) | gates | self.protection.readings()

    def finish_task(self, task: int, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Store what routing and later tasks need of the training normals."""
        self.route_by(task, features)
        self.protection.remember(self, features, task=task)

    def route_by(self, task: int, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Store what routing needs of the training normals, seen at the size at which tasks are compared."""
        self.router[str(task)].fit(features)

    def patch_scores(
        self, batch: Float[Tensor, "batch row column dim"], *, task: int
    ) -> Float[Tensor, "batch row column"]:
        """Return -log p of each patch's adapted features given the task id, nats, as its scorer weighs it."""
        return scored(self, batch, self(batch, task=task), task=task)

    def patch_terms(
        self, batch: Float[Tensor, "batch row column dim"], *, task: int
    ) -> tuple[Float[Tensor, "batch row column"], Float[Tensor, "batch row column"]]:
        """Return the length of each patch's latent and its log-det, nats, for diagnostics."""
        flowed = self(batch, task=task)
        return flowed.latent.norm(dim=-1), flowed.log_det

    def turned_scores(
        self, batch: Float[Tensor, "batch row column dim"], *, task: int, quarters: int
    ) -> Float[Tensor, "batch row column"]:
        """Return the scores of features that are placed and then turned, on the turned grid."""
        return turned_scores(self, batch, task=task, quarters=quarters)

    def task_distances(
        self, batch: Float[Tensor, "batch row column dim"], *, router: str
    ) -> Float[Tensor, "batch task"]:
        """Return the distance of each image to each task in task order; infinite for a task not finished.

        `router` may also be a term of `routing.TERMS`, in nats.

        Raises:
            MechlabError: an unknown router.
            ValueError: the oracle, which takes the true id and has no distances.
        """
        if router == "oracle":
            raise ValueError("the oracle takes the true task id; it has no distances")
        if router not in ROUTERS:
            raise unknown("router", router, (*ROUTERS, "oracle"))
        means = batch.double().mean(dim=(1, 2))
        tasks = sorted(self.router, key=int)
        if router == "entropy":
            entropies = [latent_entropy(self(batch, task=int(key)).latent) for key in tasks]
            is_known = torch.stack([self.router[key].count > 0 for key in tasks])
            return torch.where(is_known, torch.stack(entropies, dim=1), torch.inf)
        return torch.stack([self.router[key].distance(means, router=router) for key in tasks], dim=1)
