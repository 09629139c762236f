"""Reverse distillation as the loop drives it: a bottleneck and a student rebuild a frozen teacher's maps.

The teacher stands outside: its maps come packed from the cache, so no step can move it, and its running
statistics least of all. Each task has a student of its own, or one student goes on from task to task; the
task is an argument of every call. Source: Deng & Li, CVPR 2022, arXiv:2201.10703; notes 000.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mechlab.specs import validated
from mechlab.train.routing import centre_distances
from mechlab.train.stage import Loss, ParameterGroup, Scope, Stage
from reproductions.backbones.pyramid import Maps, Pyramid
from reproductions.reverse_distillation.blocks import start
from reproductions.reverse_distillation.bottleneck import Bottleneck
from reproductions.reverse_distillation.catalog import SCORE_UNIT
from reproductions.reverse_distillation.config import ReverseDistillationConfig
from reproductions.reverse_distillation.losses import level_losses
from reproductions.reverse_distillation.pyramid import Blueprint, TeacherMaps
from reproductions.reverse_distillation.scoring import score_map
from reproductions.reverse_distillation.student import Student


class Pupil(nn.Module):
    """Everything that is trained: the bottleneck and the student behind it."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        self.bottleneck, self.student = Bottleneck(blueprint), Student(blueprint)
        start(self)

    @classmethod
    def drawn(cls, blueprint: Blueprint, *, seed: int, task: int) -> "Pupil":
        """Return an untrained one, drawn from seed and task alone; torch's generator stays as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.SeedSequence([seed, task]).generate_state(1)[0]))
            return cls(blueprint)

    def forward(self, maps: Maps) -> Maps:
        """Return the maps as they are rebuilt, finest first."""
        rebuilt: Maps = self.student(self.bottleneck(maps))
        return rebuilt


class Centre(nn.Module):
    """The mean of each channel of the teacher's maps over a task's normals, for routing."""

    mean: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels, dtype=torch.float64))


class ReverseDistillation(nn.Module):
    """The system. Use `create`."""

    device_of: Tensor  # empty; it goes where the system goes
    score_unit = SCORE_UNIT

    def __init__(self, config: ReverseDistillationConfig, *, pyramid: Pyramid, seed: int) -> None:
        super().__init__()
        self.config, self.pyramid, self.seed = config, pyramid, seed
        self.blueprint = Blueprint.of(pyramid, block=config.block)
        self.teacher = TeacherMaps(pyramid)
        self.pupil, self.centre = nn.ModuleDict(), nn.ModuleDict()
        self.register_buffer("device_of", torch.zeros(0), persistent=False)

    @classmethod
    def create(cls, parts: dict[str, Any], *, pyramid: Pyramid, seed: int) -> "ReverseDistillation":
        """Build the system without tasks from a preset's parts and what its teacher's maps look like.

        Raises:
            MechlabError: an unknown key, a value outside its range, or a teacher that cannot be mirrored.
        """
        return cls(validated(ReverseDistillationConfig, parts, what="rd"), pyramid=pyramid, seed=seed)

    def add_task(self, task: int) -> None:
        """Create the task's student, unless it goes on with that of the first task."""
        if str(task) in self.centre:
            raise ValueError(f"task {task} exists")
        if self._key(task) == str(task):
            self.pupil[str(task)] = Pupil.drawn(self.blueprint, seed=self.seed, task=task).to(
                self.device_of.device
            )
        self.centre[str(task)] = Centre(sum(self.blueprint.channels)).to(self.device_of.device)

    def _key(self, task: int) -> str:
        return "0" if self.config.student == "shared" else str(task)

    def pupil_of(self, task: int) -> Pupil:
        """Return what a task trains."""
        if str(task) not in self.centre:
            raise ValueError(f"no task {task}: add_task comes first")
        found = self.pupil[self._key(task)]
        assert isinstance(found, Pupil)
        return found

    def prepare(self, task: int, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Nothing depends on the training normals before the first step."""

    def stage(self, task: int) -> Stage:
        """Return the task's training: all of its student by Adam, without weight decay."""
        config, own = self.config, f"pupil.{self._key(task)}."
        kind: Scope = "shared" if config.student == "shared" else "per-task"
        scopes: dict[str, Scope] = {
            name: kind if name.startswith(own) else "frozen" for name, _ in self.named_parameters()
        }
        moving = tuple(name for name, scope in scopes.items() if scope != "frozen")
        return Stage(
            scopes=scopes,
            groups=(ParameterGroup(parameters=moving, learning_rate=config.learning_rate),),
            epochs=config.epochs,
            batch_size=config.batch_size,
            betas=(config.beta_first, config.beta_second),
            decay=config.schedule,
            step_at=config.step_at,
            final_learning_rate=config.step_factor,
            unit=SCORE_UNIT,
        )

    def loss(self, batch: Float[Tensor, "batch row column dim"], *, task: int) -> Loss:
        """Return the distance between the teacher's maps and those rebuilt from them."""
        wanted = self.teacher(batch)
        return self.loss_between(wanted, self.pupil_of(task)(wanted))

    def loss_between(self, wanted: Maps, rebuilt: Maps) -> Loss:
        """Return the sum over levels of the mean cosine distance; the terms are the levels."""
        levels = level_losses(wanted, rebuilt, form=self.config.loss)
        return Loss(
            total=torch.stack(levels).sum(), terms=dict(zip(self.blueprint.names, levels, strict=True))
        )

    def forward(
        self, batch: Float[Tensor, "batch row column dim"], *, task: int
    ) -> Float[Tensor, "batch height width"]:
        """Return the score map of each image, a value a pixel."""
        wanted = self.teacher(batch)
        rebuilt = self.pupil_of(task)(wanted)
        return score_map(wanted, rebuilt, image_size=self.pyramid.image_size)

    def finish_task(self, task: int, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Store the mean of each channel of the teacher's maps."""
        means = np.mean([item.mean(axis=(0, 1), dtype=np.float64) for item in features], axis=0)
        centre = self.centre[str(task)]
        assert isinstance(centre, Centre)
        centre.mean.copy_(self.pyramid.channel_means(torch.from_numpy(means)[None])[0])

    def patch_scores(
        self, batch: Float[Tensor, "batch row column dim"], *, task: int
    ) -> Float[Tensor, "batch height width"]:
        """Return the score map given the task id; here a patch is a pixel."""
        return self(batch, task=task)  # type: ignore[no-any-return]

    def task_distances(
        self, batch: Float[Tensor, "batch row column dim"], *, router: str
    ) -> Float[Tensor, "batch task"]:
        """Return the distance of each image's channel means to those of each task's normals, in task order.

        Raises:
            MechlabError: an unknown router.
            ValueError: the oracle, which takes the true id and has no distances.
        """
        means = self.pyramid.channel_means(batch.double().mean(dim=(1, 2)))
        centres = [self.centre[key].mean for key in sorted(self.centre, key=int)]
        return centre_distances(means, centres, router=router, system="rd")
