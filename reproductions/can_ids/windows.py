"""From a log to graphs: a window of messages is a graph of its ids, whose edges say which id follows which.

A node is a distinct CAN id of the window, in ascending order. `x` of a node: 0 its index in the vocabulary; 1
to 8 the mean of each payload byte / 255 (bytes that a message lacks count as 0); 9 its number of messages,
the fewest of the window's nodes being 0 and the most 1 (0 where all are equal); 10 its last place / (W - 1).

An edge is a pair (id of message t, id of message t + 1) that occurs in the window. `edge_attr`, with the
places t at which it occurs: 0 how often; 1 that / W; 2 mean and 3 standard deviation of the steps between
places; 4 regularity 1 / (1 + that deviation), 0 where it occurs once; 5 first and 6 last place / W; 7 their
difference; 8 whether the opposite edge occurs; 9 product and 10 ratio (from / to) of the degrees, a degree
being the number of pairs that an id takes part in.

Sources: arXiv:2507.19686 and notes 003 for window, nodes and features. There, pairs were made within pieces
of 5,000 rows, so that each piece lost its last message, and a window ended with the pair to the next window's
first id; here a log is one piece, and a window holds the W - 1 pairs of its own messages: it can be judged
when it ends.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from mechlab.errors import MechlabError
from reproductions.can_ids.edges import edges_of
from reproductions.can_ids.graph_set import NORMAL, UNLABELLED, GraphSet, Source, pointers
from reproductions.can_ids.log import Log
from reproductions.can_ids.nodes import PLACES, nodes_of
from reproductions.can_ids.vocabulary import Vocabulary

WINDOW, STRIDE = 100, 100  # messages
_BLOCK = 2048  # windows at a time, so that their arrays stay near the processor


def graphs_of(
    log: Log, source: Source, *, vocabulary: Vocabulary, window: int = WINDOW, stride: int = STRIDE
) -> GraphSet:
    """Return the graph of each whole window of a log, the first beginning with the first message.

    Messages after the last whole window belong to no graph. `y` of a log without labels is 0 if the source is
    attack-free, else -1.

    Raises:
        MechlabError: a window outside 2..1024, a stride below 1, or a log shorter than a window.
    """
    _check(len(log), source.name, window, stride)
    firsts = np.arange(0, len(log) - window + 1, stride)
    starts = range(0, firsts.size, _BLOCK)
    nodes = [nodes_of(log, firsts[start : start + _BLOCK], window=window) for start in starts]
    edges = [edges_of(each) for each in nodes]
    x, can_ids = _together([each.x for each in nodes]), _together([each.can_ids for each in nodes])
    ids = vocabulary.index(can_ids)
    x[:, 0] = ids
    return GraphSet(
        y=_labels(log, source, firsts, window),
        start=log.time[firsts],
        end=log.time[firsts + window - 1],
        source=np.zeros(firsts.size, dtype=np.int64),
        node_ptr=pointers([each.sizes for each in nodes]),
        edge_ptr=pointers([each.sizes for each in edges]),
        x=x,
        ids=ids,
        can_ids=can_ids,
        counts=_together([each.counts for each in nodes]),
        shortest=_together([each.shortest for each in nodes]),
        edge_index=np.concatenate([each.edge_index for each in edges], axis=1),
        edge_attr=_together([each.edge_attr for each in edges]),
        sources=(source,),
        vocabulary=vocabulary,
        window=window,
        stride=stride,
    )


def _together(pieces: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(pieces)


def _check(messages: int, name: str, window: int, stride: int) -> None:
    if not 2 <= window <= PLACES + 1 or stride < 1:
        raise MechlabError(
            f"a window of {window} messages with a stride of {stride} is not possible; "
            f"give --window 2 to {PLACES + 1} and --stride 1 or more."
        )
    if messages < window:
        raise MechlabError(
            f"log '{name}' has {messages} messages, fewer than the {window} of a window; "
            "give a longer log or a smaller --window."
        )


def _labels(
    log: Log, source: Source, firsts: Int64[np.ndarray, " graph"], window: int
) -> Int64[np.ndarray, " graph"]:
    if log.attack is None:
        return np.full(firsts.size, NORMAL if source.attack == "none" else UNLABELLED, dtype=np.int64)
    before = np.concatenate([[0], np.cumsum(log.attack)])
    return (before[firsts + window] > before[firsts]).astype(np.int64)
