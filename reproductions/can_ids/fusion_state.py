"""What a fusion sees of a window: 8 numbers of its VGAE, 7 of its GAT.

0 squared error, 1 cross-entropy of followers and 2 of ids (nats), 3 to 6 mean, deviation, largest and
smallest number of the latent over nodes and channels, 7 confidence 1 / (1 + squared error); 8, 9 the GAT's
two probabilities, 10 to 13 mean, deviation, largest and smallest number of what it pools, 14 confidence 1 -
entropy / ln 2. Source: the public code of arXiv:2508.04845.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reproductions.can_ids.batching import batches
from reproductions.can_ids.gat import GATOutput
from reproductions.can_ids.graph_batch import Graphs, window_extreme, window_mean
from reproductions.can_ids.graph_set import GraphSet
from reproductions.can_ids.scoring import BATCH
from reproductions.can_ids.vgae import VGAEOutput
from reproductions.can_ids.vgae_objective import SCORE_WEIGHTS, window_errors

SIZE = 15
ATTACK_PROBABILITY = 9  # its place in a state


@torch.inference_mode()
def states(vgae: nn.Module, gat: nn.Module, graphs: GraphSet) -> Float[Tensor, "window 15"]:
    """Return the states of windows by two trained models, which are put into evaluation."""
    vgae.eval(), gat.eval()
    device, found = next(gat.parameters()).device, []
    for _, batch in batches(graphs, BATCH):
        there = batch.to(device)
        found.append(torch.cat([vgae_state(vgae(there), there), gat_state(gat(there))], dim=1))
    return torch.cat(found).clone()


def vgae_state(output: VGAEOutput, graphs: Graphs) -> Float[Tensor, "window 8"]:
    """Return the first 8 numbers; the latent is its mean, so that they repeat."""
    errors, latent = window_errors(output, graphs), output.mean
    mean = window_mean(latent.mean(dim=1), graphs)
    deviation = (window_mean(latent.square().mean(dim=1), graphs) - mean.square()).clamp_min(0).sqrt()
    largest = window_extreme(latent.amax(dim=1), graphs, largest=True)
    smallest = window_extreme(latent.amin(dim=1), graphs, largest=False)
    rest = [mean, deviation, largest, smallest, 1 / (1 + errors[:, 0])]
    return torch.cat([errors, torch.stack(rest, dim=1)], dim=1)


def gat_state(output: GATOutput) -> Float[Tensor, "window 7"]:
    """Return the last 7 numbers."""
    logs = torch.log_softmax(output.logits, dim=1)
    probabilities, pooled = logs.exp(), output.pooled
    entropy = -(probabilities * logs).sum(dim=1)
    rest = [
        pooled.mean(dim=1),
        pooled.std(dim=1),
        pooled.amax(dim=1),
        pooled.amin(dim=1),
        1 - entropy / math.log(2),
    ]
    return torch.cat([probabilities, torch.stack(rest, dim=1)], dim=1)


def anomaly(state: Float[Tensor, "window 15"]) -> Float[Tensor, " window"]:
    """Return the VGAE's errors as one number in [0, 1]: weighted, and cut off."""
    return (state[:, :3] @ state.new_tensor(SCORE_WEIGHTS)).clamp(0, 1)


def probability(state: Float[Tensor, "window 15"], *, is_twice: bool) -> Float[Tensor, " window"]:
    """Return the GAT's probability of an attack; `is_twice`: after one more softmax, as the public code."""
    both = state[:, ATTACK_PROBABILITY - 1 : ATTACK_PROBABILITY + 1]
    return torch.softmax(both, dim=1)[:, 1] if is_twice else both[:, 1]
