"""Forward passes in bfloat16 where that is asked for; what they give is float32 again, as losses need it."""

import torch
from torch import Tensor, nn

from reproductions.can_ids.gat import GATOutput
from reproductions.can_ids.graph_batch import Graphs
from reproductions.can_ids.vgae import VGAEOutput


def forward(model: nn.Module, graphs: Graphs, *, amp: bool) -> VGAEOutput | GATOutput:
    """Return what a model says of windows, in float32; with `amp` its products are made in bfloat16.

    bfloat16 has the range of float32, so that gradients need no scaler.
    """
    if not amp:
        found: VGAEOutput | GATOutput = model(graphs)
        return found
    with torch.autocast(graphs.x.device.type, dtype=torch.bfloat16):
        output: VGAEOutput | GATOutput = model(graphs)
    values: list[Tensor] = [value.float() for value in output]
    return type(output)(*values)
