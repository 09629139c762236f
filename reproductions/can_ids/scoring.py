"""What a trained model makes of windows: one score each, repeatable, in the order of the windows."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from reproductions.can_ids.batching import batches
from reproductions.can_ids.gat import GATOutput
from reproductions.can_ids.graph_batch import Graphs
from reproductions.can_ids.graph_set import GraphSet
from reproductions.can_ids.vgae import VGAEOutput
from reproductions.can_ids.vgae_objective import window_scores

BATCH = 256  # fixed: the composition of batches is part of what makes scores bit-identical


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowScores:
    """Scores of windows; higher looks more like an attack."""

    scores: Float[np.ndarray, " window"]  # a VGAE's weighted errors, or a GAT's log-odds of an attack, nats
    logits: Float[np.ndarray, "window 2"] | None = None  # of a GAT


@torch.inference_mode()
def scored(model: nn.Module, graphs: GraphSet) -> WindowScores:
    """Return the scores of windows by a model, which is put into evaluation."""
    model.eval()
    device = next(model.parameters()).device
    scores, logits = [], []
    for _, batch in batches(graphs, BATCH):
        there = batch.to(device)
        output = model(there)
        scores.append(scores_of(output, there).double().cpu().numpy())
        if isinstance(output, GATOutput):
            logits.append(output.logits.double().cpu().numpy())
    return WindowScores(scores=np.concatenate(scores), logits=np.concatenate(logits) if logits else None)


def scores_of(output: VGAEOutput | GATOutput, graphs: Graphs) -> Float[torch.Tensor, " window"]:
    """Return how much a window looks like an attack: errors of a VGAE, or a GAT's log-odds in nats.

    Probabilities would be 1 for many windows, which then have no rank; log-odds keep it.
    """
    if isinstance(output, GATOutput):
        return output.logits[:, 1] - output.logits[:, 0]
    return window_scores(output, graphs)
