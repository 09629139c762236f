"""What the autoencoder is trained on: errors of payload, name and followers of each node, and the divergence.

The weights are those of the public code (KD-GAT, arXiv:2507.19686): 1 for the numbers, 0.1 for the name, 0.05
for the followers, 0.01 for the divergence. A window's score takes the errors of its nodes with the weights of
the published fusion, 0.4, 0.35 and 0.25.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mechlab.train.stage import Loss
from reproductions.can_ids.graph_batch import Graphs, ids_of, numbers_of, window_mean
from reproductions.can_ids.vgae import VGAEOutput

SCORE_WEIGHTS = (0.4, 0.35, 0.25)  # numbers (squared error), followers (nats), name (nats)


@dataclass(frozen=True, slots=True, kw_only=True)
class VGAEWeights:
    """Weights of the loss beside the squared error of the numbers."""

    identity: float = 0.1
    neighbours: float = 0.05
    divergence: float = 0.01


def node_errors(output: VGAEOutput, graphs: Graphs) -> Float[Tensor, "node 3"]:
    """Return squared error of the numbers, cross-entropy of the followers and of the name, nats, a node."""
    numbers = (output.cont - numbers_of(graphs)).square().mean(dim=1)
    wanted = followers(graphs, ids=output.neighbour_logits.shape[1])
    logits = output.neighbour_logits
    neighbours = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(dim=1)
    identity = functional.cross_entropy(output.id_logits, ids_of(graphs), reduction="none")
    return torch.stack([numbers, neighbours, identity], dim=1)


def followers(graphs: Graphs, *, ids: int) -> Float[Tensor, "node {ids}"]:
    """Return 1 where a message of an id follows one of the node within its window, else 0."""
    sources, targets = graphs.edge_index
    wanted = graphs.x.new_zeros((len(graphs.x), ids))
    wanted[sources, ids_of(graphs)[targets]] = 1.0
    return wanted


def vgae_loss(output: VGAEOutput, graphs: Graphs, weights: VGAEWeights) -> Loss:
    """Return the loss, a mean over the batch's nodes, and its parts."""
    numbers, neighbours, identity = node_errors(output, graphs).mean(dim=0)
    total = (
        numbers
        + weights.identity * identity
        + weights.neighbours * neighbours
        + weights.divergence * output.kl
    )
    terms = {"numbers": numbers, "identity": identity, "neighbours": neighbours, "divergence": output.kl}
    return Loss(total=total, terms=terms)


def window_errors(output: VGAEOutput, graphs: Graphs) -> Float[Tensor, "window 3"]:
    """Return the mean of `node_errors` over the nodes of each window."""
    return window_mean(node_errors(output, graphs), graphs)


def window_scores(output: VGAEOutput, graphs: Graphs) -> Float[Tensor, " window"]:
    """Return how unlike what was learned a window is: its errors, weighted as in the published fusion."""
    errors = window_errors(output, graphs)
    return errors @ errors.new_tensor(SCORE_WEIGHTS)
