"""A place by what a patch looks like: that of the training patches most like it. Nothing here trains.

Source: notes 004 L3091 to L3099 (content-based and hybrid position, prototypes matched when scoring; no
formula). Chosen here: prototypes are the centres of a task's training patches, each holds the mean embedding
of the places where its patches stood, and a patch takes their mean, weighted by its nearness to them.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mechlab.errors import MechlabError
from mechlab.stats.prototypes import prototypes
from reproductions.moleflow.placing import Features, NoPlacing, Place

SAMPLE = 2048  # training patches, evenly over images and places


class Prototypes(nn.Module):
    """One task's prototypes: buffers, fitted in closed form."""

    centres: Float[Tensor, "prototype dim"]
    places: Float[Tensor, "prototype dim"]
    spread: Float[Tensor, ""]  # mean squared distance of a training patch to its prototype

    def __init__(self, count: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.zeros(count, dim))
        self.register_buffer("places", torch.zeros(count, dim))
        self.register_buffer("spread", torch.ones(()))

    def fit(
        self, features: Float[np.ndarray, "item row column dim"], place: Float[np.ndarray, "row column dim"]
    ) -> None:
        """Set the prototypes; too few distinct patches are a MechlabError."""
        dim, per_image = features.shape[-1], place.shape[0] * place.shape[1]
        chosen = np.unique(np.linspace(0, len(features) * per_image - 1, SAMPLE).astype(np.int64))
        rows = np.stack(
            [features[index // per_image].reshape(-1, dim)[index % per_image] for index in chosen]
        )
        try:
            centres = prototypes(rows, len(self.centres))
        except ValueError as fault:
            raise MechlabError(
                f"a task's patches give no {len(self.centres)} content_prototypes ({fault}); ask for fewer."
            ) from fault
        away = ((rows[:, None] - centres) ** 2).sum(axis=-1)  # patch, prototype
        nearest, stood = away.argmin(axis=1), place.reshape(-1, dim)[chosen % per_image]
        means = [stood[nearest == index].mean(axis=0) for index in range(len(centres))]
        self.centres.copy_(torch.from_numpy(centres))
        self.places.copy_(torch.from_numpy(np.stack(means)))
        self.spread.fill_(max(float(away.min(axis=1).mean()), float(np.finfo(np.float32).tiny)))

    def forward(self, x: Features) -> Features:
        """Return the place that the content of each patch suggests."""
        away = (x[..., None, :] - self.centres).square().sum(dim=-1)  # batch, row, column, prototype
        return torch.softmax(-0.5 * away / self.spread, dim=-1) @ self.places


class ContentPlacing(NoPlacing):
    """x + share · embedding + (1 - share) · the place that content suggests; share 0 knows no grid."""

    def __init__(self, place: Place, *, count: int, share: float) -> None:
        super().__init__()
        self.grid_place = place.numpy()
        self.count, self.share = count, share
        self.known = nn.ModuleDict()

    def add_task(self, task: int) -> None:
        """Create the task's prototypes, not yet fitted."""
        self.known[str(task)] = Prototypes(self.count, self.grid_place.shape[-1])

    def fit(self, task: int, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Find the task's prototypes."""
        self.known[str(task)].fit(features, self.grid_place)

    def forward(self, x: Features, place: Place, *, task: int) -> Features:
        """Add both places by their shares."""
        return x + self.share * place + (1 - self.share) * self.known[str(task)](x)
