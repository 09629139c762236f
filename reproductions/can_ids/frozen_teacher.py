"""A trained model that teaches: no gradient, no running statistics, always in evaluation.

What a system trains is switched to training as a whole, with all its modules; a teacher stays as it is. Else
its batch normalisation would see the student's batches and its buffers would drift.
"""

import torch
from torch import nn

from reproductions.can_ids.gat import GATOutput
from reproductions.can_ids.graph_batch import Graphs
from reproductions.can_ids.vgae import VGAEOutput


class FrozenTeacher(nn.Module):
    """The model; its parameters are those of `model.*`, and none of them requires a gradient."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "FrozenTeacher":
        """Stay in evaluation, whatever the system around it does."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, graphs: Graphs) -> VGAEOutput | GATOutput:
        """Return what the model says of the windows."""
        output: VGAEOutput | GATOutput = self.model(graphs)
        return output
