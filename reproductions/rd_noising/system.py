"""RD-Noising as the loop drives it: reverse distillation that sees noised maps while it trains.

Phase 1 fills banks from the training normals (`prepare`); phase 2 trains with noise from the epoch after the
warm-up on. The loss stays between the teacher's clean maps and those rebuilt from noised ones, scores never
see noise, and with both switches off there is nothing beside reverse distillation. Source: notes 000.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mechlab.specs import validated
from mechlab.train.stage import Loss, Moment, ParameterGroup, Scope, Stage
from reproductions.backbones.pyramid import Maps, Pyramid
from reproductions.patchcore.coreset import count_of
from reproductions.rd_noising.banks import IMAGES, level_bank, sample, thinned
from reproductions.rd_noising.config import RDNoisingConfig
from reproductions.rd_noising.deviation import EmbeddingDeviation, FeatureDeviation
from reproductions.rd_noising.draws import Draws
from reproductions.rd_noising.drift import Drift
from reproductions.rd_noising.noise import AdaptiveNoise
from reproductions.reverse_distillation.pyramid import level_paths
from reproductions.reverse_distillation.scoring import score_map
from reproductions.reverse_distillation.system import ReverseDistillation

EMBEDDING = "embedding"  # the name of the noise behind the bottleneck
_BANK = 1  # last number of a seed: the draws of banks have a stream of their own


class RDNoising(ReverseDistillation):
    """The system. Use `create`."""

    config: RDNoisingConfig

    def __init__(self, config: RDNoisingConfig, *, pyramid: Pyramid, seed: int) -> None:
        super().__init__(config, pyramid=pyramid, seed=seed)
        self.noise, self.drift = nn.ModuleDict(), nn.ModuleDict()

    @classmethod
    def create(cls, parts: dict[str, Any], *, pyramid: Pyramid, seed: int) -> "RDNoising":
        """Build the system without tasks from a preset's parts and what its teacher's maps look like.

        Raises:
            MechlabError: an unknown key, a value outside its range, switches that disagree, or a teacher that
                cannot be mirrored.
        """
        return cls(validated(RDNoisingConfig, parts, what="rd-noising"), pyramid=pyramid, seed=seed)

    def add_task(self, task: int) -> None:
        """Create the task's student, and its noise without banks."""
        super().add_task(task)
        if not self.config.is_noisy:
            return
        noise = nn.ModuleDict()
        if self.config.noise_source == EMBEDDING:
            noise[EMBEDDING] = self._noise(self.blueprint.embedding, layer=0)
            self.drift[str(task)] = Drift(self.blueprint.embedding).to(self.device_of.device)
        else:
            paths = level_paths(self.blueprint.names)
            for level in self.config.noise_layers:
                noise[paths[level]] = self._noise(self.blueprint.channels[level], layer=level)
        self.noise[str(task)] = noise.to(self.device_of.device)

    def _noise(self, channels: int, *, layer: int) -> AdaptiveNoise:
        config, ends = self.config, self.config.noise_std_range
        deviation: FeatureDeviation | EmbeddingDeviation = EmbeddingDeviation(ends=ends)
        if config.noise_source != EMBEDDING:
            deviation = FeatureDeviation(channels, ends=ends)
        return AdaptiveNoise(channels, deviation=deviation, count=config.n_neighbors, kind=config.noise_kind,
                             layer=layer, epochs=config.epochs)  # fmt: skip

    def noise_of(self, task: int) -> dict[str, AdaptiveNoise]:
        """Return a task's noises by the level that they are on; none where the noise is off."""
        if str(task) not in self.noise:
            return {}
        levels = self.noise[str(task)].named_children()
        return {name: found for name, found in levels if isinstance(found, AdaptiveNoise)}

    def prepare(self, task: int, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Phase 1: fill the task's banks from its training normals.

        Raises:
            MechlabError: a bank keeps fewer than the neighbours that are asked for.
        """
        super().prepare(task, features)
        config, paths = self.config, level_paths(self.blueprint.names)
        for name, noise in self.noise_of(task).items():
            if name == EMBEDDING:
                self._keep_embeddings(task, features, noise)
                continue
            bank = level_bank(features, self.pyramid, level=paths.index(name),
                              ratio=config.coreset_sampling_ratio, most=config.max_patches,
                              seed=[self.seed, task, _BANK, noise.layer])  # fmt: skip
            noise.keep(bank.to(self.device_of.device))

    def _keep_embeddings(
        self, task: int, features: Float[np.ndarray, "item row column dim"], noise: AdaptiveNoise
    ) -> None:
        """Fill the bank behind the bottleneck: one vector an image, by the bottleneck as it stands now."""
        config, draws = self.config, np.random.default_rng([self.seed, task, _BANK])
        chosen = torch.from_numpy(sample(len(features), most=config.max_patches, draws=draws))
        vectors = self.embeddings(features, task=task, items=chosen)
        count = min(count_of(len(features), config.coreset_sampling_ratio), len(chosen))
        kept = thinned(vectors, count, draws=draws, name="the bank of the embedding").cpu()
        noise.keep(vectors[kept.to(vectors.device)])
        drift = self.drift[str(task)]
        assert isinstance(drift, Drift)
        drift.images = chosen[kept].to(self.device_of.device)

    @torch.no_grad()
    def embeddings(
        self, features: Float[np.ndarray, "item row column dim"], *, task: int, items: Int[Tensor, " chosen"]
    ) -> Float[Tensor, "chosen embedding"]:
        """Return the mean over places of the bottleneck's output for some images; its mode is kept."""
        bottleneck = self.pupil_of(task).bottleneck
        modes = [(module, module.training) for module in bottleneck.modules()]
        bottleneck.eval()
        found = [
            bottleneck(self.pyramid.unpacked(torch.from_numpy(features[part.cpu().numpy()]).to(
                self.device_of.device))).mean(dim=(2, 3))
            for part in items.split(IMAGES)
        ]  # fmt: skip
        for module, mode in modes:
            module.training = mode
        return torch.cat(found)

    def stage(self, task: int) -> Stage:
        """Return the task's training: its student as in reverse distillation, and its noise's weights."""
        plain, own = super().stage(task), f"noise.{task}."
        weights = tuple(name for name in plain.scopes if name.startswith(own))
        if not weights:
            return plain
        scopes: dict[str, Scope] = {**plain.scopes, **{name: "per-task" for name in weights}}
        group = ParameterGroup(parameters=weights, learning_rate=self.config.learning_rate)
        return replace(plain, scopes=scopes, groups=(*plain.groups, group))

    def loss_at(self, batch: Float[Tensor, "batch row column dim"], *, task: int, moment: Moment) -> Loss:
        """Return the loss of a batch: with noise while it trains, from the epoch after the warm-up on.

        `loss` is without noise, as is a loss in evaluation mode.
        """
        noises = self.noise_of(task)
        if not (noises and self.training and moment.epoch >= self.config.noise_warmup_epochs):
            return self.loss(batch, task=task)
        draws = self._draws(task, epoch=moment.epoch, items=[int(item) for item in moment.items])
        wanted = self.teacher(batch)
        return self.loss_between(wanted, self._rebuilt(wanted, task=task, noises=noises, draws=draws))

    def _rebuilt(self, wanted: Maps, *, task: int, noises: dict[str, AdaptiveNoise], draws: Draws) -> Maps:
        pupil = self.pupil_of(task)
        if EMBEDDING in noises:
            noised = noises[EMBEDDING](pupil.bottleneck(wanted), draws=draws, is_frozen=False)
            rebuilt: Maps = pupil.student(noised)
            return rebuilt
        paths = level_paths(self.blueprint.names)
        return pupil(  # type: ignore[no-any-return]
            tuple(
                noises[path](values, draws=draws, is_frozen=True) if path in noises else values
                for path, values in zip(paths, wanted, strict=True)
            )
        )

    def _draws(self, task: int, *, epoch: int, items: Sequence[int]) -> Draws:
        return Draws(seed=self.seed, task=task, epoch=epoch, items=tuple(items))

    def forward(
        self, batch: Float[Tensor, "batch row column dim"], *, task: int
    ) -> Float[Tensor, "batch height width"]:
        """Return the score map of each image, without noise; what the noise would be passes its places."""
        wanted, pupil, noises = self.teacher(batch), self.pupil_of(task), self.noise_of(task)
        draws = self._draws(task, epoch=0, items=range(len(batch)))
        for path, values in zip(level_paths(self.blueprint.names), wanted, strict=True):
            if path in noises:
                noises[path].look(values, draws=draws)
        embedding = pupil.bottleneck(wanted)
        if EMBEDDING in noises:
            noises[EMBEDDING].look(embedding, draws=draws)
        return score_map(wanted, pupil.student(embedding), image_size=self.pyramid.image_size)

    def patch_scores(
        self, batch: Float[Tensor, "batch row column dim"], *, task: int
    ) -> Float[Tensor, "batch height width"]:
        """Return the score map given the task id, which no noise touches; here a patch is a pixel."""
        return super().forward(batch, task=task)

    def finish_task(self, task: int, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Store what routing needs, and where the images of an embedding's bank are now."""
        super().finish_task(task, features)
        if str(task) in self.drift:
            drift = self.drift[str(task)]
            assert isinstance(drift, Drift)
            drift.last = self.embeddings(features, task=task, items=drift.images)
