"""PatchCore as the loop drives it: nothing trains; each task keeps a coreset of its normals' patches.

Features are those of the backbone, whose 3 x 3 neighbourhoods are the local aggregation. The task is an
argument of every call, and a task's bank is never touched again.
Source: Roth et al., CVPR 2022, arXiv:2106.08265; notes 002.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mechlab.specs import validated
from mechlab.train.routing import centre_distances
from mechlab.train.stage import Loss, ParameterGroup, Scope, Stage
from reproductions.patchcore.bank import Bank
from reproductions.patchcore.catalog import SCORE_UNIT
from reproductions.patchcore.config import PatchCoreConfig
from reproductions.patchcore.coreset import count_of, k_center
from reproductions.patchcore.progress import bar
from reproductions.patchcore.projection import projection

_SAMPLE, _PROJECTION, _START, _SUBSET = range(4)  # last number of a seed: each draw has a stream of its own


class PatchCore(nn.Module):
    """The system. Use `create`."""

    device_of: Tensor  # empty; it goes where the system goes
    score_unit = SCORE_UNIT

    def __init__(self, config: PatchCoreConfig, *, dim: int, seed: int) -> None:
        super().__init__()
        self.config, self.dim, self.seed = config, dim, seed
        self.features = nn.Identity()  # a place to look: the patches that are compared
        self.bank = nn.ModuleDict()
        self.register_buffer("device_of", torch.zeros(0), persistent=False)

    @classmethod
    def create(
        cls,
        parts: dict[str, Any],
        *,
        dim: int,
        grid: tuple[int, int],
        seed: int,
        grids: Mapping[int, tuple[int, int]] | None = None,
    ) -> "PatchCore":
        """Build the system without tasks from a preset's parts; no grid matters to it, nor do those of tasks.

        Raises:
            MechlabError: an unknown key, a value outside its range, or a projection to no fewer channels.
        """
        del grid, grids
        config = validated(PatchCoreConfig, parts, what="patchcore")
        if config.projection != "none":
            projection(config.projection, dim=dim, to=config.projection_dim, seed=[seed])
        return cls(config, dim=dim, seed=seed)

    def add_task(self, task: int) -> None:
        """Create the task's empty bank."""
        if str(task) in self.bank:
            raise ValueError(f"task {task} exists")
        config = self.config
        bank = Bank(self.dim, neighbours=config.neighbours, reweight=config.reweight, search=config.search)
        self.bank[str(task)] = bank.to(self.device_of.device)

    def prepare(self, task: int, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Fill the task's bank from its training normals.

        Raises:
            MechlabError: fewer patches are kept than neighbours are asked for.
        """
        patches = torch.from_numpy(features.reshape(-1, features.shape[-1])).to(self.device_of.device)
        chosen = self._sample(patches, task)
        mean = torch.from_numpy(np.mean(features, axis=(0, 1, 2), dtype=np.float64))
        self.keep(task, chosen[self._kept(chosen, task)], mean)

    def keep(self, task: int, patches: Float[Tensor, "patch dim"], mean: Float[Tensor, " dim"]) -> None:
        """Store a task's patches, and the mean feature of its images; MechlabError as `prepare`."""
        self._bank(task).keep(patches, mean)

    def _generator(self, task: int, draw: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, task, draw])

    def _sample(self, patches: Float[Tensor, "patch dim"], task: int) -> Float[Tensor, "sample dim"]:
        most = self.config.max_patches
        if most is None or most >= len(patches):
            return patches
        drawn = self._generator(task, _SAMPLE).choice(len(patches), most, replace=False)
        return patches[torch.from_numpy(np.sort(drawn)).to(patches.device)]

    def _kept(self, patches: Float[Tensor, "patch dim"], task: int) -> Int[Tensor, " kept"]:
        count = count_of(len(patches), self.config.ratio)
        if self.config.coreset == "random":
            drawn = self._generator(task, _SUBSET).choice(len(patches), count, replace=False)
            return torch.from_numpy(np.sort(drawn)).to(patches.device)
        with bar(f"coreset of task {task}") as told:
            thin = self._thinned(patches, task)
            start = int(self._generator(task, _START).integers(len(thin)))
            return k_center(thin, count, start=start, told=told)

    def _thinned(self, patches: Float[Tensor, "patch dim"], task: int) -> Float[Tensor, "patch thin"]:
        """Return the patches as the coreset sees them: projected, in its precision."""
        config, kind = self.config, getattr(torch, self.config.precision)
        if config.projection == "none":
            return patches.to(kind)
        matrix = projection(config.projection, dim=self.dim, to=config.projection_dim,
                            seed=[self.seed, task, _PROJECTION])  # fmt: skip
        return patches.to(kind) @ matrix.to(patches.device, kind)

    def _bank(self, task: int) -> Bank:
        if str(task) not in self.bank:
            raise ValueError(f"no task {task}: add_task comes first")
        found = self.bank[str(task)]
        assert isinstance(found, Bank)
        return found

    def stage(self, task: int) -> Stage:
        """Return a stage in which nothing trains: no epoch, and a group that holds no parameter."""
        del task
        scopes: dict[str, Scope] = {name: "frozen" for name, _ in self.named_parameters()}
        nothing = ParameterGroup(parameters=(), learning_rate=0.0)
        return Stage(scopes=scopes, groups=(nothing,), epochs=0, batch_size=1)

    def forward(
        self, batch: Float[Tensor, "batch row column dim"], *, task: int
    ) -> Float[Tensor, "batch row column"]:
        """Return the score of each patch by the task's bank: a distance, in the unit of the features."""
        found: Tensor = self._bank(task)(self.features(batch))
        return found

    def loss(self, batch: Float[Tensor, "batch row column dim"], *, task: int) -> Loss:
        """Return the mean score; nothing is trained by it, gradients of inputs may be recorded under it."""
        total = self(batch, task=task).mean()
        return Loss(total=total, terms={"distance": total})

    def finish_task(self, task: int, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Everything is stored when the bank is filled."""

    def route_by(self, task: int, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Store the mean feature of the task's normals, seen at the size at which tasks are compared."""
        self._bank(task).mean.copy_(torch.from_numpy(np.mean(features, axis=(0, 1, 2), dtype=np.float64)))

    def patch_scores(
        self, batch: Float[Tensor, "batch row column dim"], *, task: int
    ) -> Float[Tensor, "batch row column"]:
        """Return the score of each patch given the task id."""
        scores: Tensor = self(batch, task=task)
        return scores

    def image_weights(
        self,
        batch: Float[Tensor, "batch row column dim"],
        scores: Float[Tensor, "batch row column"],
        *,
        task: int,
    ) -> Float[Tensor, " batch"] | None:
        """Return the published factor of each image's score with `reweight`, else None; maps have none."""
        return self._bank(task).weights(batch, scores) if self.config.reweight else None

    def task_distances(
        self, batch: Float[Tensor, "batch row column dim"], *, router: str
    ) -> Float[Tensor, "batch task"]:
        """Return the distance of each image's mean feature to that of each task's normals, in task order.

        Raises:
            MechlabError: an unknown router.
            ValueError: the oracle, which takes the true id and has no distances.
        """
        means = batch.double().mean(dim=(1, 2))
        centres = [self._bank(int(key)).mean for key in sorted(self.bank, key=int)]
        return centre_distances(means, centres, router=router, system="patchcore")
