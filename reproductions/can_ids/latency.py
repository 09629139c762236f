"""How long does a detector take for one window, alone, as it would come from the bus?"""

import statistics
from time import perf_counter

import numpy as np
import torch
from torch import nn

from reproductions.can_ids.batching import to_batch
from reproductions.can_ids.graph_set import GraphSet

TIMES, WARM = 50, 5


@torch.inference_mode()
def seconds_a_window(model: nn.Module, graphs: GraphSet) -> float:
    """Return the median seconds from a window's arrays to the model's output, over 50 windows."""
    model.eval()
    device = next(model.parameters()).device
    spent = []
    for number in np.linspace(0, len(graphs) - 1, TIMES + WARM).astype(int).tolist():
        began = perf_counter()
        output = model(to_batch(graphs.span(number, number + 1)).to(device))
        float(output[0].sum())  # waits for a device that works by itself
        spent.append(perf_counter() - began)
    return statistics.median(spent[WARM:])
