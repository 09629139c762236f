"""Graphs as torch_geometric objects: one graph, or a batch of several side by side."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from reproductions.can_ids.geometric import Batch, Data
from reproductions.can_ids.graph_set import GraphSet


def to_pyg(graphs: GraphSet, index: int) -> Data:
    """Return one graph with `x, edge_index, edge_attr, y, ids` as views of the flat arrays.

    Raises IndexError outside.
    """
    one = graphs.select(np.array([index]))
    return Data(
        x=_view(one.x), edge_index=_view(one.edge_index), edge_attr=_view(one.edge_attr), y=_view(one.y),
        ids=_view(one.ids),
    )  # fmt: skip


def to_batch(graphs: GraphSet) -> Batch:
    """Return all graphs of a set as one batch; only the edge index, which counts on, is a copy."""
    sizes, edges = np.diff(graphs.node_ptr), np.diff(graphs.edge_ptr)
    shifted = graphs.edge_index + np.repeat(graphs.node_ptr[:-1], edges)
    return Batch(
        x=_view(graphs.x), edge_index=_view(shifted), edge_attr=_view(graphs.edge_attr), y=_view(graphs.y),
        ids=_view(graphs.ids), batch=_view(np.repeat(np.arange(len(graphs)), sizes)),
        ptr=_view(graphs.node_ptr),
    )  # fmt: skip


def batches(
    graphs: GraphSet, size: int, *, order: Int64[np.ndarray, " chosen"] | None = None
) -> Iterator[tuple[Int64[np.ndarray, " batch"], Batch]]:
    """Yield batches of `size` graphs with their numbers, the last one smaller; in order unless `order` tells.

    Raises ValueError for a size below 1.
    """
    if size < 1:
        raise ValueError(f"a batch of {size} graphs is none")
    order = np.arange(len(graphs)) if order is None else order
    for start in range(0, order.size, size):
        chosen = order[start : start + size]
        yield chosen, to_batch(graphs.select(chosen))


def _view(array: np.ndarray) -> Tensor:
    """Return a tensor over the same memory; of an array that may not be written (a cache), over a copy."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())
