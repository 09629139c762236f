"""Forward passes in bfloat16 where that is asked for; what they give is float32 again, as losses need it."""

from torch import Tensor, nn

from mechlab.train.precision import products
from reproductions.can_ids.gat import GATOutput
from reproductions.can_ids.graph_batch import Graphs
from reproductions.can_ids.vgae import VGAEOutput


def forward(model: nn.Module, graphs: Graphs, *, amp: bool) -> VGAEOutput | GATOutput:
    """Return what a model says of windows, in float32; with `amp` its products are made in bfloat16.

    bfloat16 has the range of float32, so that gradients need no scaler.
    """
    with products("bf16" if amp else "float32", graphs.x.device):
        output: VGAEOutput | GATOutput = model(graphs)
    if not amp:
        return output
    values: list[Tensor] = [value.float() for value in output]
    return type(output)(*values)
