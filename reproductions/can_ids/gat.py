"""The graph attention network with jumping knowledge: two logits a window, attack-free and under attack.

Each layer's heads stand side by side; what all layers gave a node is joined (`cat`) or weighed by an LSTM
(`lstm`), averaged over the window's nodes, and read by linear layers.
Sources: Xu et al., ICML 2018 (jumping knowledge); KD-GAT, arXiv:2507.19686 (which has one logit); notes 003.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reproductions.can_ids.graph_batch import NUMBERS, Graphs, ids_of, numbers_of, window_mean
from reproductions.can_ids.layers import Conv, GraphLayer, JumpingKnowledge

CLASSES = 2  # attack-free, attack


class GATOutput(NamedTuple):
    """What the network says of each window."""

    logits: Float[Tensor, "window 2"]
    pooled: Float[Tensor, "window width"]  # the mean over the nodes, before the linear layers


class GAT(nn.Module):
    """The model."""

    def __init__(
        self,
        *,
        ids: int,
        hidden: int,
        layers: int,
        heads: int,
        embedding: int,
        dropout: float,
        linear: int = 1,
        jumping: Literal["cat", "lstm"] = "cat",
        conv: Conv = "gat",
        checkpointing: bool = False,
    ) -> None:
        """Build it for a vocabulary of `ids`; `hidden` are the channels of one head."""
        super().__init__()
        self.ids, width = ids, hidden * heads
        self.embedding = nn.Embedding(ids, embedding)
        self.layers = nn.ModuleList()
        for number in range(layers):
            channels = width if number else embedding + NUMBERS
            self.layers.append(
                GraphLayer(conv, channels=channels, width=width, heads=heads, checkpointing=checkpointing)
            )
        self.drop = nn.Dropout(dropout)
        self.jumping = JumpingKnowledge(jumping, channels=width, num_layers=layers)
        joined = width * layers if jumping == "cat" else width
        self.read = _linear_layers(joined, count=linear, dropout=dropout)
        # Places to look at: one row a window, where the layers have one a node.
        self.levels = nn.ModuleList(nn.Identity() for _ in self.layers)
        self.pooled = nn.Identity()

    def forward(self, graphs: Graphs) -> GATOutput:
        """Return the logits of each window, and what they are read from."""
        x = torch.cat([self.embedding(ids_of(graphs)), numbers_of(graphs)], dim=1)
        seen = []
        for layer, level in zip(self.layers, self.levels, strict=True):
            x = self.drop(torch.relu(layer(x, graphs)))
            level(window_mean(x, graphs))
            seen.append(x)
        pooled = self.pooled(window_mean(self.jumping(seen), graphs))
        return GATOutput(logits=self.read(pooled), pooled=pooled)


def _linear_layers(width: int, *, count: int, dropout: float) -> nn.Sequential:
    """Return `count` linear layers, of which the last gives the logits."""
    found: list[nn.Module] = []
    for _ in range(count - 1):
        found += [nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*found, nn.Linear(width, CLASSES))
