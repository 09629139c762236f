"""Several windows' graphs side by side, as the models see them: the names are those of torch_geometric.

Nodes of all windows stand in one list; `batch` says whose each is, in rising order. Column 0 of `x` is the
index of the node's id in the vocabulary, the other ten are numbers in [0, 1].
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int, Shaped
from torch import Tensor

NUMBERS = 10  # of a node: 8 mean bytes, count, last place; its id is the eleventh feature


@runtime_checkable
class Graphs(Protocol):
    """What a model takes: torch_geometric's `Batch` has these attributes."""

    x: Float[Tensor, "node 11"]
    edge_index: Int[Tensor, "2 edge"]
    edge_attr: Float[Tensor, "edge 11"]
    batch: Int[Tensor, " node"]  # number of each node's window, from 0
    y: Int[Tensor, " window"]  # 1: an attack is in the window

    @property
    def num_graphs(self) -> int:
        """Windows in the batch."""
        ...


def ids_of(graphs: Graphs) -> Int[Tensor, " node"]:
    """Return the index of each node's id in the vocabulary."""
    return graphs.x[:, 0].long()


def numbers_of(graphs: Graphs) -> Float[Tensor, "node 10"]:
    """Return what is known of each node besides its id: in [0, 1]."""
    return graphs.x[:, 1:]


def window_mean(values: Float[Tensor, "node *rest"], graphs: Graphs) -> Float[Tensor, "window *rest"]:
    """Return the mean over the nodes of each window; a window has at least one."""
    nodes = window_sum(values.new_ones(len(values)), graphs)
    return window_sum(values, graphs) / nodes.reshape(-1, *[1] * (values.ndim - 1))


def window_sum(values: Float[Tensor, "node *rest"], graphs: Graphs) -> Float[Tensor, "window *rest"]:
    """Return the sum over the nodes of each window; nodes of no window: zero."""
    empty = values.new_zeros((graphs.num_graphs, *values.shape[1:]))
    return empty.index_add(0, graphs.batch, values)


def window_extreme(
    values: Shaped[Tensor, " node"], graphs: Graphs, *, largest: bool
) -> Shaped[Tensor, " window"]:
    """Return the largest, or the smallest, value of each window's nodes."""
    empty = values.new_zeros(graphs.num_graphs)
    return empty.scatter_reduce(0, graphs.batch, values, "amax" if largest else "amin", include_self=False)
