"""The memory of one task: the patches that are kept, as a frozen parameter, and distances to them."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reproductions.patchcore.search import nearest


class Bank(nn.Module):
    """Patches of a task's normals. Empty until `keep`, or until a checkpoint is loaded."""

    patches: Float[Tensor, "patch dim"]
    mean: Float[Tensor, " dim"]

    def __init__(self, dim: int, *, neighbours: int, reweight: int, search: str) -> None:
        """Hold nothing yet; nothing here ever trains."""
        super().__init__()
        self.neighbours, self.reweight, self.search = neighbours, reweight, search
        self.patches = nn.Parameter(torch.zeros(0, dim), requires_grad=False)
        self.register_buffer("mean", torch.full((dim,), torch.inf, dtype=torch.float64))

    def keep(self, patches: Float[Tensor, "patch dim"], mean: Float[Tensor, " dim"]) -> None:
        """Store patches, and the mean feature of the task's images for routing.

        Raises:
            MechlabError: fewer patches than neighbours are asked for.
        """
        nearest(patches[:1], patches, count=max(self.neighbours, self.reweight or 1))
        self.patches = nn.Parameter(patches.clone(), requires_grad=False)
        self.mean.copy_(mean)

    def forward(self, batch: Float[Tensor, "batch row column dim"]) -> Float[Tensor, "batch row column"]:
        """Return each patch's mean distance to its nearest kept ones, in the unit of the features."""
        distances, _ = nearest(batch.flatten(0, 2), self.patches, count=self.neighbours, search=self.search)
        return distances.mean(dim=1).unflatten(0, batch.shape[:3])

    def weights(
        self, batch: Float[Tensor, "batch row column dim"], scores: Float[Tensor, "batch row column"]
    ) -> Float[Tensor, " batch"]:
        """Return the weight of each image's highest score: 1 - exp(d*) / sum of exp(d) over b neighbours.

        d* is the distance of the highest-scoring patch to its nearest kept patch m*, the sum goes over the b
        kept patches nearest to m* (m* among them), and d is the patch's distance to each. Near 1 - 1/b where
        the patch is as far from all of them, lower where m* alone is near.
        """
        highest = scores.flatten(1).argmax(dim=1)
        patch = batch.flatten(1, 2)[torch.arange(len(batch), device=batch.device), highest]
        own, index = nearest(patch, self.patches, count=1, search=self.search)
        _, around = nearest(self.patches[index[:, 0]], self.patches, count=self.reweight, search=self.search)
        away = torch.linalg.vector_norm(patch[:, None] - self.patches[around], dim=2)  # batch, neighbour
        return 1 - torch.exp(own[:, 0] - torch.logsumexp(away, dim=1))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:  # noqa: ANN401
        """Take the number of patches from a checkpoint, which is known nowhere else."""
        stored = state_dict.get(f"{prefix}patches")
        if stored is not None and stored.ndim == 2 and stored.shape[1] == self.patches.shape[1]:
            empty = torch.empty(stored.shape, dtype=self.patches.dtype, device=self.patches.device)
            self.patches = nn.Parameter(empty, requires_grad=False)
        super()._load_from_state_dict(state_dict, prefix, *rest)
