"""The edges of many windows at once: sort each window's pairs of neighbours by nodes and place, then sum."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, Int64

from reproductions.can_ids.graph_set import EDGE_FEATURES
from reproductions.can_ids.nodes import PLACE_BITS, PLACES, Nodes, runs


class Edges(NamedTuple):
    """The edges of some windows, graph after graph, in ascending order of their two nodes."""

    edge_index: Int64[np.ndarray, "2 edge"]  # node numbers within the graph
    edge_attr: Float32[np.ndarray, "edge 11"]
    sizes: Int64[np.ndarray, " graph"]  # edges a graph


class _Runs(NamedTuple):
    """Where the pairs of one edge lie among the sorted pairs of all windows."""

    graph: Int64[np.ndarray, " edge"]
    pair: Int64[np.ndarray, "2 edge"]
    count: Int64[np.ndarray, " edge"]
    first: Int64[np.ndarray, " edge"]  # place of the pair in the window
    last: Int64[np.ndarray, " edge"]
    squares: Int64[np.ndarray, " edge"]  # sum of the squared steps between neighbouring places


def edges_of(nodes: Nodes) -> Edges:
    """Return the edges of windows whose nodes are known."""
    found = _edge_runs(nodes.places)
    return Edges(
        edge_index=found.pair,
        edge_attr=_features(found, nodes),
        sizes=np.bincount(found.graph, minlength=nodes.sizes.size),
    )


def _edge_runs(places: Int64[np.ndarray, "graph message"]) -> _Runs:
    pairs = (places[:, :-1] << PLACE_BITS | places[:, 1:]).astype(np.int32)
    keys = np.sort(pairs << PLACE_BITS | np.arange(pairs.shape[1], dtype=np.int32), axis=1)
    place, pairs = keys & PLACES, keys >> PLACE_BITS
    is_first = runs(pairs)
    starts = np.flatnonzero(is_first)
    flat = place.reshape(-1).astype(np.int64)
    steps = np.diff(flat, prepend=0)
    steps[starts] = 0
    running = np.cumsum(steps * steps)
    count = np.diff(starts, append=flat.size)
    ends = starts + count - 1
    kept = pairs.reshape(-1)[starts].astype(np.int64)
    return _Runs(
        graph=starts // pairs.shape[1],
        pair=np.stack([kept >> PLACE_BITS, kept & PLACES]),
        count=count,
        first=flat[starts],
        last=flat[ends],
        squares=np.diff(running[ends], prepend=0),
    )


def _features(found: _Runs, nodes: Nodes) -> Float32[np.ndarray, "edge 11"]:
    window = nodes.places.shape[1]
    steps = np.maximum(found.count - 1, 1)
    span = found.last - found.first
    # steps² times the variance, in integers: equal steps have a deviation of exactly 0
    deviation = np.sqrt(steps * found.squares - span * span) / steps
    source, target = _degrees(found, nodes)
    features = np.empty((found.count.size, EDGE_FEATURES), dtype=np.float32)
    features[:, 0] = found.count
    features[:, 1] = found.count / window
    features[:, 2] = span / steps
    features[:, 3] = deviation
    features[:, 4] = np.where(found.count > 1, 1 / (1 + deviation), 0.0)
    features[:, 5] = found.first / window
    features[:, 6] = found.last / window
    features[:, 7] = span / window
    features[:, 8] = _is_mutual(found)
    features[:, 9] = source * target
    features[:, 10] = source / target
    return features


def _degrees(found: _Runs, nodes: Nodes) -> tuple[Int64[np.ndarray, " edge"], Int64[np.ndarray, " edge"]]:
    """Return the degrees of both ends: pairs of the window that have the node in them, a self-pair once."""
    begins = np.cumsum(nodes.sizes) - nodes.sizes
    degree = 2 * nodes.counts.astype(np.int64)
    degree[begins + nodes.places[:, 0]] -= 1  # the first message follows none, the last has no follower
    degree[begins + nodes.places[:, -1]] -= 1
    source, target = begins[found.graph] + found.pair
    alone = source == target
    degree[source[alone]] -= found.count[alone]
    return degree[source], degree[target]


def _is_mutual(found: _Runs) -> Int32[np.ndarray, " edge"]:
    """Return 1 where the opposite edge occurs in the same window; a self-edge is its own opposite."""
    graph, (source, target) = found.graph << 2 * PLACE_BITS, found.pair
    codes = graph | source << PLACE_BITS | target  # ascending
    wanted = graph | target << PLACE_BITS | source
    place = np.minimum(np.searchsorted(codes, wanted), codes.size - 1)
    return (codes[place] == wanted).astype(np.int32)
