"""Sets of graphs: parts of them, sets put together, and the batches of torch_geometric made of them."""

import numpy as np
import pytest
import torch

from reproductions.can_ids.batching import batches, to_batch, to_pyg
from reproductions.can_ids.geometric import Batch
from reproductions.can_ids.graph_set import ARRAYS, joined
from reproductions.can_ids.vocabulary import Vocabulary


@pytest.fixture
def made(graphs, bus):
    return graphs(bus(attack="fuzzing"))


def same(one, two):
    return all(np.array_equal(getattr(one, name), getattr(two, name)) for name in ARRAYS)


def test_parts_put_together_again_are_the_whole(made):
    middle = len(made) // 2
    again = joined([made.span(0, middle), made.span(middle, len(made))])
    assert all(
        np.array_equal(getattr(made, name), getattr(again, name)) for name in ARRAYS if name != "source"
    )
    assert again.source.tolist() == [0] * middle + [1] * (len(made) - middle)


def test_graphs_are_chosen_in_any_order_and_more_than_once(made):
    order = np.array([5, 0, 5, 2])
    chosen = made.select(order)
    for place, number in enumerate(order.tolist()):
        assert same(chosen.span(place, place + 1), made.span(number, number + 1))
    assert same(made.select(np.arange(len(made))), made)
    assert len(made.select(np.zeros(len(made), dtype=bool))) == 0
    with pytest.raises(IndexError, match="numbered 0 to"):
        made.select(np.array([len(made)]))


def test_a_run_of_graphs_is_cut_out_without_copying(made):
    for name in ("x", "edge_attr", "edge_index", "y"):
        assert np.shares_memory(getattr(made.select(np.arange(2, 6)), name), getattr(made, name))
    one = to_pyg(made, 3)
    assert one.x.data_ptr() == made.x[made.node_ptr[3] :].ctypes.data
    assert one.num_nodes == made.node_ptr[4] - made.node_ptr[3]


def test_a_batch_is_the_batch_that_torch_geometric_makes(made):
    order = np.array([4, 1, 7])
    ours = to_batch(made.select(order))
    theirs = Batch.from_data_list([to_pyg(made, number) for number in order.tolist()])
    assert ours.num_graphs == 3
    for name in ("x", "edge_index", "edge_attr", "y", "ids", "batch", "ptr"):
        assert torch.equal(ours[name], theirs[name]), name


def test_batches_hold_every_graph_once(made):
    order = np.random.default_rng(0).permutation(len(made))
    numbers, labels = [], []
    for chosen, batch in batches(made, 4, order=order):
        numbers += chosen.tolist()
        labels += batch.y.tolist()
    assert numbers == order.tolist() and labels == made.y[order].tolist()
    with pytest.raises(ValueError, match="batch of 0"):
        next(batches(made, 0))


def test_sets_of_other_ids_or_windows_are_not_joined(made, graphs, bus):
    for other in (graphs(bus(), vocabulary=Vocabulary((1,))), graphs(bus(attack="fuzzing"), window=50)):
        with pytest.raises(ValueError, match="one vocabulary, window and stride"):
            joined([made, other])
