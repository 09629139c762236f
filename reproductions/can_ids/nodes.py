"""The nodes of many windows at once: sort each window's messages by id and place, then sum over runs."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt32

from reproductions.can_ids.graph_set import NODE_FEATURES
from reproductions.can_ids.log import Log

PLACE_BITS = 10  # of a sort key: a window has at most 1024 messages, hence at most as many nodes
PLACES = (1 << PLACE_BITS) - 1


class Nodes(NamedTuple):
    """The nodes of some windows, graph after graph, in ascending order of id."""

    x: Float32[np.ndarray, "node 11"]  # column 0 is left 0: it needs a vocabulary
    can_ids: UInt32[np.ndarray, " node"]
    counts: Int32[np.ndarray, " node"]
    shortest: Float32[np.ndarray, " node"]
    sizes: Int64[np.ndarray, " graph"]  # nodes a graph
    places: Int64[np.ndarray, "graph message"]  # the node number of each message


def nodes_of(log: Log, firsts: Int64[np.ndarray, " graph"], *, window: int) -> Nodes:
    """Return the nodes of the windows that begin with the messages `firsts`."""
    messages = firsts[:, None] + np.arange(window)
    keys = np.sort((log.ids[messages].astype(np.int64) << PLACE_BITS) | np.arange(window), axis=1)
    place, can_ids = keys & PLACES, (keys >> PLACE_BITS).astype(np.uint32)
    is_first = runs(can_ids)
    ranks = np.cumsum(is_first, axis=1) - 1
    places = np.empty_like(ranks)
    np.put_along_axis(places, place, ranks, axis=1)
    starts = np.flatnonzero(is_first)
    counts = np.diff(starts, append=is_first.size)
    ordered = (firsts[:, None] + place).reshape(-1)  # messages, by graph, id and place
    sizes = ranks[:, -1] + 1
    x = np.zeros((starts.size, NODE_FEATURES), dtype=np.float32)
    x[:, 1:9] = _sums(log.payload[ordered], starts) / (255.0 * counts[:, None])
    x[:, 9] = _between(counts, sizes)
    x[:, 10] = place.reshape(-1)[starts + counts - 1] / (window - 1)
    return Nodes(
        x=x,
        can_ids=can_ids.reshape(-1)[starts],
        counts=counts.astype(np.int32),
        shortest=_shortest(log.time[ordered], is_first.reshape(-1), starts),
        sizes=sizes,
        places=places,
    )


def runs(keys: np.ndarray) -> np.ndarray:
    """Return where a run of equal keys begins in each row of sorted rows."""
    begins = np.ones(keys.shape, dtype=np.bool_)
    np.not_equal(keys[:, 1:], keys[:, :-1], out=begins[:, 1:])
    return begins


def _sums(rows: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the sum of the rows of each run, exactly: differences of a running integer sum."""
    running = np.cumsum(rows, axis=0, dtype=np.int64)
    ends = running[np.append(starts[1:], len(rows)) - 1]
    return np.diff(ends, axis=0, prepend=np.zeros((1, rows.shape[1]), dtype=np.int64))


def _between(counts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return counts from 0 (the graph's fewest) to 1 (its most); 0 where all are equal."""
    begins = np.cumsum(sizes) - sizes
    fewest, most = np.minimum.reduceat(counts, begins), np.maximum.reduceat(counts, begins)
    width = np.repeat(np.maximum(most - fewest, 1), sizes)
    return (counts - np.repeat(fewest, sizes)) / width


def _shortest(times: np.ndarray, is_first: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the least time in seconds between two neighbours of a run; inf for a run of one."""
    steps = np.diff(times, prepend=0.0)
    steps[is_first] = np.inf
    return np.minimum.reduceat(steps, starts).astype(np.float32)
