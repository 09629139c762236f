"""Four numbers of a window that need no learning: rate, entropy, shortest interval, unknown ids.

A flood of one id shows in rate and entropy, random ids are unknown, and a message injected between those of
its own id cuts an interval in two. Sources: Muter & Asaj 2011, IEEE IV (entropy); Song, Kim & Kim 2016, ICOIN
(intervals).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from reproductions.can_ids.graph_set import GraphSet

NAMES = ("rate", "entropy", "interval", "unknown")
_SECOND = 1e-6  # the least span and interval that a clock tells


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """The usual shortest interval of each known id in a normal window: log of seconds; NaN: never seen."""

    usual: Float64[np.ndarray, " known"]

    @classmethod
    def of(cls, normals: GraphSet) -> "Intervals":
        """Return the median over the windows in which an id stands twice or more."""
        usual = np.full(normals.vocabulary.size, np.nan)
        seen = np.isfinite(normals.shortest) & (normals.ids != normals.vocabulary.unknown)
        ids, logs = normals.ids[seen], _log(normals.shortest[seen])
        order = np.lexsort((logs, ids))
        ids, logs = ids[order], logs[order]
        starts = np.flatnonzero(np.diff(ids, prepend=-1))
        for start, end in zip(starts, np.append(starts[1:], ids.size), strict=True):
            usual[ids[start]] = np.median(logs[start:end])
        return cls(usual=usual)

    def least(self, graphs: GraphSet) -> Float64[np.ndarray, " graph"]:
        """Return the most by which an id of the window is faster than usual: log of the ratio, at most 0."""
        usual = self.usual[graphs.ids]
        away = np.where(np.isfinite(graphs.shortest) & np.isfinite(usual), _log(graphs.shortest) - usual, 0.0)
        return np.minimum(np.minimum.reduceat(away, graphs.node_ptr[:-1]), 0.0)


def statistics(graphs: GraphSet, intervals: Intervals) -> Float64[np.ndarray, "graph 4"]:
    """Return the numbers of each window, in the order of `NAMES`.

    Log of messages a second, entropy of its ids in nats, the least interval against the usual one (log of the
    ratio), and the share of messages with an id that the vocabulary does not know.
    """
    begins, window = graphs.node_ptr[:-1], graphs.window
    share = graphs.counts / window
    unknown = np.where(graphs.ids == graphs.vocabulary.unknown, share, 0.0)
    return np.stack([
        np.log((window - 1) / np.maximum(graphs.end - graphs.start, _SECOND)),
        -np.add.reduceat(share * np.log(share), begins),
        intervals.least(graphs),
        np.add.reduceat(unknown, begins),
    ], axis=1)  # fmt: skip


def _log(seconds: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(seconds.astype(np.float64), _SECOND))
