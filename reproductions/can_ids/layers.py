"""The attention layers that both models are made of, and which of them read the features of edges.

Sources: Velickovic et al., ICLR 2018 (gat); Brody, Alon & Yahav,
ICLR 2022 (gatv2); Shi et al., IJCAI 2021 (transformer).
"""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mechlab.errors import MechlabError
from reproductions.can_ids.geometric import GATConv, GATv2Conv, JumpingKnowledge, TransformerConv
from reproductions.can_ids.graph_batch import Graphs
from reproductions.can_ids.graph_set import EDGE_FEATURES

__all__ = ["Conv", "GraphLayer", "JumpingKnowledge"]

Conv = Literal["gat", "gatv2", "transformer"]
EDGE_READERS = ("gatv2", "transformer")  # `gat` sees which ids follow each other, and no more of an edge


class GraphLayer(nn.Module):
    """One layer of attention whose heads stand side by side: `width` channels in all."""

    def __init__(
        self, conv: Conv, *, channels: int, width: int, heads: int, checkpointing: bool = False
    ) -> None:
        """Build the layer.

        Raises:
            MechlabError: heads that do not divide the width.
        """
        super().__init__()
        if width % heads:
            raise MechlabError(
                f"{heads} heads do not divide {width} channels of a graph layer; choose a width that is a "
                "multiple of the heads."
            )
        self.reads_edges, self.checkpointing = conv in EDGE_READERS, checkpointing
        each = width // heads
        if conv == "gat":
            self.conv: nn.Module = GATConv(channels, each, heads=heads)
        elif conv == "gatv2":
            self.conv = GATv2Conv(channels, each, heads=heads, edge_dim=EDGE_FEATURES)
        else:
            self.conv = TransformerConv(channels, each, heads=heads, edge_dim=EDGE_FEATURES)

    def forward(self, x: Float[Tensor, "node channel"], graphs: Graphs) -> Float[Tensor, "node width"]:
        """Return each node's new channels; checkpointing computes them again in the backward pass."""
        edges = graphs.edge_attr if self.reads_edges else None
        if self.checkpointing and self.training:
            return checkpoint(self.conv, x, graphs.edge_index, edges, use_reentrant=False)
        return self.conv(x, graphs.edge_index, edges)
