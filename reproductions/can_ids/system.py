"""A detector of CAN windows as the loop drives it: a model, and beside it a teacher and a projection.

The loop's batches are numbers of windows, since graphs have no one shape; here they become graphs. There is
one task, and one optimiser that holds model and projection. Source: notes 003, phase 2.
"""

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor, nn

from mechlab.train.stage import Curriculum, Loss, ParameterGroup, Scope, Stage
from reproductions.can_ids.batching import to_batch
from reproductions.can_ids.config import GATConfig, TrainingConfig, VGAEConfig
from reproductions.can_ids.distillation import Signals, combined, gat_distillation, vgae_distillation
from reproductions.can_ids.frozen_teacher import FrozenTeacher
from reproductions.can_ids.gat import GATOutput
from reproductions.can_ids.geometric import Batch
from reproductions.can_ids.graph_set import GraphSet
from reproductions.can_ids.models import build
from reproductions.can_ids.precision import forward
from reproductions.can_ids.projection import projection
from reproductions.can_ids.scoring import scores_of
from reproductions.can_ids.vgae import VGAEOutput
from reproductions.can_ids.vgae_objective import VGAEWeights, vgae_loss

SEED = 1  # of the projection beside that of the run


class Detector(nn.Module):
    """The system. `windows` are those that it is trained on, by the numbers of the loop's batches."""

    score_unit = "1"

    def __init__(
        self,
        config: TrainingConfig,
        windows: GraphSet,
        *,
        seed: int,
        teacher: nn.Module | None = None,
        curriculum: Curriculum | None = None,
    ) -> None:
        super().__init__()
        self.config, self.windows, self.curriculum = config, windows, curriculum
        self.model = build(config, ids=windows.vocabulary.size, seed=seed)
        if teacher is None:
            return
        self.teacher = FrozenTeacher(teacher)
        if isinstance(config, VGAEConfig) and config.latent_weight:
            sizes = [model.latent_dim for model in (self.model, teacher)]
            self.projection = projection(
                *sizes, seed=int(np.random.SeedSequence([seed, SEED]).generate_state(1)[0])
            )

    @property
    def is_distilled(self) -> bool:
        """Whether there is a teacher."""
        return hasattr(self, "teacher")

    def graphs(self, items: Int[np.ndarray, " item"]) -> Batch:
        """Return some of the windows as one batch, where the model is."""
        device = next(self.model.parameters()).device
        return to_batch(self.windows.select(items)).to(device)

    def add_task(self, task: int) -> None:
        """Everything is there: there is one task. ValueError for another one."""
        if task:
            raise ValueError(f"task {task}: a detector has one task, number 0")

    def prepare(self, task: int, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Nothing depends on the windows before the first step."""

    def stage(self, task: int) -> Stage:
        """Return the training: one group that holds the model and the projection; the teacher is frozen."""
        del task
        names = [name for name, _ in self.named_parameters()]
        moving = tuple(name for name in names if not name.startswith("teacher."))
        scopes: dict[str, Scope] = {name: "shared" if name in moving else "frozen" for name in names}
        config, unit = self.config, "a node" if isinstance(self.config, VGAEConfig) else "nats a window"
        group = ParameterGroup(
            parameters=moving, learning_rate=config.learning_rate, weight_decay=config.weight_decay
        )
        return Stage(scopes=scopes, groups=(group,), epochs=config.epochs, batch_size=config.batch_size,
                     clip_norm=config.clip_norm, curriculum=self.curriculum, unit=unit)  # fmt: skip

    def loss(self, batch: Float[Tensor, "batch row column dim"], *, task: int) -> Loss:
        """Return the loss of the windows of these numbers, and its parts: `train_loss`, `kd_loss`, ...."""
        del task
        graphs = self.graphs(batch[:, 0, 0, 0].cpu().numpy().astype(np.int64))
        output = forward(self.model, graphs, amp=self.config.amp)
        told = self._told(output, graphs) if self.is_distilled else None
        return combined(self._task_loss(output, graphs), told, alpha=self.config.alpha)

    def _task_loss(self, output: VGAEOutput | GATOutput, graphs: Batch) -> Loss:
        config = self.config
        if isinstance(output, GATOutput):
            total = nn.functional.cross_entropy(output.logits, graphs.y)
            return Loss(total=total, terms={})
        assert isinstance(config, VGAEConfig)
        weights = VGAEWeights(
            identity=config.identity_weight, neighbours=config.neighbour_weight,
            divergence=config.divergence_weight,
        )  # fmt: skip
        return vgae_loss(output, graphs, weights)

    def _told(self, output: VGAEOutput | GATOutput, graphs: Batch) -> Loss:
        config, taught = self.config, forward(self.teacher, graphs, amp=self.config.amp)
        if isinstance(output, GATOutput):
            assert isinstance(config, GATConfig) and isinstance(taught, GATOutput)
            return gat_distillation(output, taught, temperature=config.temperature)
        assert isinstance(config, VGAEConfig) and isinstance(taught, VGAEOutput)
        signals = Signals(latent=config.latent_weight, reconstruction=config.reconstruction_weight)
        through = getattr(self, "projection", nn.Identity())
        return vgae_distillation(output, taught, through, signals)

    def finish_task(self, task: int, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Nothing is kept of the windows."""

    def forward(
        self, batch: Float[Tensor, "batch row column dim"], *, task: int
    ) -> Float[Tensor, "batch row column"]:
        """Return what `patch_scores` does: the pass that a recording of a checkpoint looks at."""
        return self.patch_scores(batch, task=task)

    def patch_scores(
        self, batch: Float[Tensor, "batch row column dim"], *, task: int
    ) -> Float[Tensor, "batch row column"]:
        """Return the score of each of the windows of these numbers: a window is an image of one patch."""
        del task
        graphs = self.graphs(batch[:, 0, 0, 0].cpu().numpy().astype(np.int64))
        return scores_of(self.model(graphs), graphs)[:, None, None]

    def task_distances(
        self, batch: Float[Tensor, "batch row column dim"], *, router: str
    ) -> Float[Tensor, "batch task"]:
        """Return 0 for each window: there is one task."""
        del router
        return batch.new_zeros((len(batch), 1))
