"""The variational graph autoencoder: it says each id's payload, its name and who follows it, from a latent.

Layers of attention follow `hidden`; the last of it is the latent. Linear heads give its mean and
log-variance. The decoder goes back through `hidden` but for its first width, which it does not use (so the
public code), and ends in a layer of attention to the ten numbers of a node. In evaluation the latent is its
mean, so scores repeat; `sampling="always"` draws it there too, as the public code does. Sources: Kipf &
Welling 2016, arXiv:1611.07308; KD-GAT, arXiv:2507.19686; notes 003.
"""

from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mechlab.errors import MechlabError
from reproductions.can_ids.graph_batch import NUMBERS, Graphs, ids_of, numbers_of, window_mean
from reproductions.can_ids.layers import Conv, GraphLayer

LARGEST_LOG_VARIANCE = 20.0  # to either side


class VGAEOutput(NamedTuple):
    """What the autoencoder says of each node; the mean of the latent stands beside what was drawn of it."""

    cont: Float[Tensor, "node 10"]  # in (0, 1)
    id_logits: Float[Tensor, "node id"]
    neighbour_logits: Float[Tensor, "node id"]  # of every id: does it follow the node?
    z: Float[Tensor, "node latent"]
    kl: Float[Tensor, ""]  # nats a node and latent channel
    mean: Float[Tensor, "node latent"]


class Block(nn.Module):
    """A layer of attention, batch normalisation, ReLU, dropout."""

    def __init__(self, layer: GraphLayer, *, width: int, dropout: float) -> None:
        super().__init__()
        self.layer, self.norm, self.drop = layer, nn.BatchNorm1d(width), nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "node channel"], graphs: Graphs) -> Float[Tensor, "node width"]:
        """Return each node's new channels."""
        return self.drop(torch.relu(self.norm(self.layer(x, graphs))))


class VGAE(nn.Module):
    """The model."""

    def __init__(
        self,
        *,
        ids: int,
        hidden: tuple[int, ...],
        heads: int,
        embedding: int,
        dropout: float,
        decoder_heads: int = 4,
        conv: Conv = "gat",
        sampling: Literal["training", "always"] = "training",
        checkpointing: bool = False,
    ) -> None:
        """Build it for a vocabulary of `ids`, the unknown one included.

        Raises:
            MechlabError: fewer than two hidden widths, or heads that do not divide one.
        """
        super().__init__()
        if len(hidden) < 2:
            raise MechlabError(
                f"hidden {list(hidden)} names no layer: give the widths of the encoder and, last, of the "
                "latent, "
                "e.g. [480, 240, 48]."
            )
        self.ids, self.latent_dim, self.sampling = ids, hidden[-1], sampling
        self.embedding = nn.Embedding(ids, embedding)

        def blocks(widths: list[int], first_heads: int) -> nn.ModuleList:
            found = nn.ModuleList()
            for number, (channels, width) in enumerate(pairwise(widths)):
                own = first_heads if number == 0 else 1
                layer = GraphLayer(conv, channels=channels, width=width, heads=own,
                                   checkpointing=checkpointing)  # fmt: skip
                found.append(Block(layer, width=width, dropout=dropout))
            return found

        self.encoder = blocks([embedding + NUMBERS, *hidden[:-1]], heads)
        self.to_mean = nn.Linear(hidden[-2], self.latent_dim)
        self.to_log_variance = nn.Linear(hidden[-2], self.latent_dim)
        back = list(hidden[:0:-1])  # from the latent, without the encoder's first width
        self.decoder = blocks(back, decoder_heads)
        self.to_numbers = GraphLayer(
            conv, channels=back[-1], width=NUMBERS, heads=1, checkpointing=checkpointing
        )
        self.to_id, self.to_neighbours = _head(self.latent_dim, ids), _head(self.latent_dim, ids)
        # Places to look at: one row a window, where the layers have one a node.
        self.levels = nn.ModuleList(nn.Identity() for _ in self.encoder)
        self.latent = nn.Identity()

    def forward(self, graphs: Graphs) -> VGAEOutput:
        """Return what is said of each node, and how far the latent is from its prior."""
        x = torch.cat([self.embedding(ids_of(graphs)), numbers_of(graphs)], dim=1)
        for block, level in zip(self.encoder, self.levels, strict=True):
            x = block(x, graphs)
            level(window_mean(x, graphs))
        mean = self.to_mean(x)
        log_variance = self.to_log_variance(x).clamp(-LARGEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE)
        self.latent(window_mean(mean, graphs))
        z = mean
        if self.training or self.sampling == "always":
            z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        back = z
        for block in self.decoder:
            back = block(back, graphs)
        return VGAEOutput(
            cont=torch.sigmoid(self.to_numbers(back, graphs)),
            id_logits=self.to_id(z),
            neighbour_logits=self.to_neighbours(z),
            z=z,
            kl=divergence(mean, log_variance),
            mean=mean,
        )


def divergence(
    mean: Float[Tensor, "node latent"], log_variance: Float[Tensor, "node latent"]
) -> Float[Tensor, ""]:
    """Return the KL divergence from N(0, 1), nats a node and channel."""
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).mean()


def _head(latent: int, ids: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(latent, latent), nn.ReLU(), nn.Linear(latent, ids))
