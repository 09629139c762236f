"""A shared context mixer that each task opens, scales and shifts for itself. Source: notes 004 L2434."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reproductions.moleflow.mixer import ContextMixer


class TaskAdaptiveMixer(nn.Module):
    """(1 - g) x + g (scale · base(x) + shift), g = sigmoid(level): g, scale and shift are the task's own.

    The base mixer trains with the first task and is frozen after it. Level and shift start at 0, scale at 1.
    """

    def __init__(self, dim: int, *, kernel: int) -> None:
        super().__init__()
        self.dim = dim
        self.base = ContextMixer(dim, kernel=kernel)
        self.task_level, self.task_scale, self.task_shift = (nn.ParameterDict() for _ in range(3))

    def add_task(self, task: int) -> None:
        """Create the task's level, scale and shift."""
        key = str(task)
        self.task_level[key] = nn.Parameter(torch.zeros(1))
        self.task_scale[key] = nn.Parameter(torch.ones(self.dim))
        self.task_shift[key] = nn.Parameter(torch.zeros(self.dim))

    def forward(
        self, x: Float[Tensor, "batch row column dim"], *, task: int
    ) -> Float[Tensor, "batch row column dim"]:
        """Mix each patch with its neighbourhood as the task does."""
        key = str(task)
        adapted = self.task_scale[key] * self.base(x, task=task) + self.task_shift[key]
        return torch.lerp(x, adapted, torch.sigmoid(self.task_level[key]))
