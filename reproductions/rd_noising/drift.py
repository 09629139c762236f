"""Where the images of an embedding's bank went while the bottleneck trained: the bank never follows.

The bank of generation 2 describes what an untrained bottleneck makes of the images. `last` is what the
trained one makes of the same images, so that a recording can set the two side by side (quantity `weight`).
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class Drift(nn.Module):
    """The images of a bank, and their embeddings after the last epoch; empty before."""

    images: Int[Tensor, " kept"]  # numbers in the task
    last: Float[Tensor, "kept dim"]

    def __init__(self, dim: int) -> None:
        """Take the channels of the embedding."""
        super().__init__()
        self.register_buffer("images", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("last", torch.zeros(0, dim))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:  # noqa: ANN401
        """Take the number of images from a checkpoint, which is known nowhere else."""
        for name in ("images", "last"):
            stored, own = state_dict.get(f"{prefix}{name}"), getattr(self, name)
            if stored is not None and stored.shape[1:] == own.shape[1:]:
                setattr(self, name, torch.empty(stored.shape, dtype=own.dtype, device=own.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)
