"""Context at several scales by dilated depthwise convolutions, in front of the flow.

`TaskMultiScaleMixer` is named in the notes and not described; chosen here: the convolutions are shared and
each task has a gate of its own. Source: notes 004 L942 (dilations 1, 2, 4; gate 0.5 at the start), L1450.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reproductions.moleflow.initialisation import BASE, generator, start_uniform

DILATIONS = (1, 2, 4)
KERNEL = 3  # patches


class MultiScaleContext(nn.Module):
    """Three dilated 3 x 3 depthwise convolutions, joined by a 1 x 1 convolution."""

    def __init__(self, dim: int, *, seed: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            nn.utils.skip_init(
                nn.Conv2d, dim, dim, KERNEL, padding=reach * (KERNEL // 2), dilation=reach, groups=dim
            )
            for reach in DILATIONS
        )
        self.fusion = nn.utils.skip_init(nn.Conv2d, len(DILATIONS) * dim, dim, 1)
        for number, layer in enumerate([*self.scales, self.fusion]):
            draw = generator(seed, task=BASE, name=f"mixer.context.{number}")
            start_uniform(layer.weight, layer.bias, draw=draw)

    def forward(self, x: Float[Tensor, "batch row column dim"]) -> Float[Tensor, "batch row column dim"]:
        """Return the context of each patch."""
        channels = x.permute(0, 3, 1, 2)  # batch dim row column
        joined = torch.cat([scale(channels) for scale in self.scales], dim=1)
        return self.fusion(joined).permute(0, 2, 3, 1)


class MultiScaleMixer(nn.Module):
    """x + sigmoid(level) · context(x); level starts at 0."""

    def __init__(self, dim: int, *, seed: int) -> None:
        super().__init__()
        self.context = MultiScaleContext(dim, seed=seed)
        self.level = nn.Parameter(torch.zeros(1))

    def add_task(self, task: int) -> None:
        """Do nothing: no task has parameters here."""

    def forward(
        self, x: Float[Tensor, "batch row column dim"], *, task: int
    ) -> Float[Tensor, "batch row column dim"]:
        """Add each patch's context."""
        return x + torch.sigmoid(self.level) * self.context(x)


class TaskMultiScaleMixer(nn.Module):
    """x + sigmoid(level of the task) · context(x)."""

    def __init__(self, dim: int, *, seed: int) -> None:
        super().__init__()
        self.context = MultiScaleContext(dim, seed=seed)
        self.task_level = nn.ParameterDict()

    def add_task(self, task: int) -> None:
        """Create the task's gate."""
        self.task_level[str(task)] = nn.Parameter(torch.zeros(1))

    def forward(
        self, x: Float[Tensor, "batch row column dim"], *, task: int
    ) -> Float[Tensor, "batch row column dim"]:
        """Add each patch's context as far as the task's gate is open."""
        return x + torch.sigmoid(self.task_level[str(task)]) * self.context(x)
