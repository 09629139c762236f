"""What a patch differs by from its neighbours, added to it through a gate.

The notes name a PatchInteractionModule beside the patch attention and say no more (004 L476): chosen here is
an interaction of direct neighbours, where the attention is one of all patches.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from reproductions.moleflow.initialisation import BASE, generator, start_uniform


class PatchInteraction(nn.Module):
    """x + sigmoid(level) · W (mean of the up to eight neighbours - x); gate 0.5 at the start, W without bias.

    Shared, trained with the first task. An image of equal patches stays as it is.
    """

    def __init__(self, dim: int, *, seed: int) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(1))
        self.change = nn.utils.skip_init(nn.Linear, dim, dim, bias=False)
        start_uniform(
            self.change.weight, None, draw=generator(seed, task=BASE, name="mixer.interaction.change")
        )

    def add_task(self, task: int) -> None:
        """Do nothing: no task has parameters here."""

    def forward(
        self, x: Float[Tensor, "batch row column dim"], *, task: int
    ) -> Float[Tensor, "batch row column dim"]:
        """Add what each patch differs by from its neighbours."""
        around = functional.avg_pool2d(
            x.permute(0, 3, 1, 2), 3, stride=1, padding=1, divisor_override=1
        ).permute(0, 2, 3, 1)
        ones = torch.ones(1, 1, *x.shape[1:3], device=x.device, dtype=x.dtype)
        count = functional.avg_pool2d(ones, 3, stride=1, padding=1, divisor_override=1)[0, 0, :, :, None]
        others = (around - x) / (count - 1).clamp_min(1)
        away = torch.where(count > 1, others - x, 0.0)
        return x + torch.sigmoid(self.level) * self.change(away)
