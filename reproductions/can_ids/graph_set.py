"""The graphs of many windows in flat arrays: what a detector of this directory reads.

Node n of graph g is row `node_ptr[g] + n` of the node arrays, an edge likewise by `edge_ptr`. Nothing here
needs torch; `reproductions.can_ids.batching` makes torch_geometric batches of it. What the features are:
`reproductions.can_ids.windows`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Int32, Int64, UInt32

from mechlab.errors import MechlabError
from reproductions.can_ids.vocabulary import Vocabulary

NODE_FEATURES = 11
EDGE_FEATURES = 11
NORMAL, ATTACK, UNLABELLED = 0, 1, -1
_NODES = ("x", "ids", "can_ids", "counts", "shortest")
_GRAPHS = ("y", "start", "end", "source")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The log, or the stretch of a log, that windows are of."""

    name: str  # file name without suffix and without the name of the part
    part: str  # "train_01_attack_free", "test_02_unknown_vehicle_known_attack", ...; "" outside such a folder
    attack: str  # "dos", "fuzzing", "malfunction", ...; "none" for an attack-free log
    vehicle: str  # "kia", "sonata", ...; "" where the name does not tell
    split: str = "train"  # or "validation", "test": one log may be cut into several sources
    group: str = ""  # of a test source: the row of the metrics that it counts in


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSet:
    """Graphs in the order of logs and, inside a log, of time."""

    y: Int64[
        np.ndarray, " graph"
    ]  # 1: at least one message of the window is an attack; 0: none; -1: not known
    start: Float64[np.ndarray, " graph"]  # seconds, first message of the window
    end: Float64[np.ndarray, " graph"]  # seconds, last message of the window
    source: Int64[np.ndarray, " graph"]  # number of the log in `sources`
    node_ptr: Int64[np.ndarray, " graph+1"]  # from 0 to the number of nodes
    edge_ptr: Int64[np.ndarray, " graph+1"]  # from 0 to the number of edges
    x: Float32[np.ndarray, "node 11"]  # see windows.py; column 0 is `ids`
    ids: Int64[np.ndarray, " node"]  # index in the vocabulary
    can_ids: UInt32[np.ndarray, " node"]  # as on the bus; distinct unknown ids are distinct nodes
    counts: Int32[np.ndarray, " node"]  # messages of the window with this id
    shortest: Float32[np.ndarray, " node"]  # seconds between two of them, at least; inf where there is one
    edge_index: Int64[np.ndarray, "2 edge"]  # node numbers within the graph, from 0
    edge_attr: Float32[np.ndarray, "edge 11"]  # see windows.py
    sources: tuple[Source, ...]
    vocabulary: Vocabulary
    window: int  # messages a graph
    stride: int  # messages from the first of a window to the first of the next

    def __len__(self) -> int:
        """Return the number of graphs."""
        return self.y.size

    @property
    def attacks(self) -> tuple[str, ...]:
        """The attack of each graph by name; "none" for a normal one, whatever its log holds elsewhere."""
        return tuple(
            self.sources[log].attack if label == ATTACK else "none"
            for log, label in zip(self.source.tolist(), self.y.tolist(), strict=True)
        )

    @property
    def parts(self) -> tuple[str, ...]:
        """The part of each graph by name."""
        return tuple(self.sources[log].part for log in self.source.tolist())

    def of_split(self, split: str, group: str | None = None) -> "GraphSet":
        """Return the graphs of a split ("train", "validation", "test"), or of one group of it."""
        wanted = [one.split == split and group in (None, one.group) for one in self.sources]
        return self.select(np.array(wanted, dtype=np.bool_)[self.source])

    def grouped(self) -> "GraphSet":
        """Return these graphs; those of no group, which no test is, count in one named for their split."""
        sources = tuple(one if one.group else replace(one, group=one.split) for one in self.sources)
        return replace(self, sources=sources)

    def labelled(self) -> "GraphSet":
        """Return these graphs, all of which have a label.

        Raises:
            MechlabError: a log without labels, told by name.
        """
        missing = np.unique(self.source[self.y == UNLABELLED])
        if missing.size:
            raise MechlabError(
                f"log '{self.sources[missing[0]].name}' has no labels (its format knows none); "
                "give logs with labels, or put it into a folder train_01_attack_free if it holds no attack."
            )
        return self

    def select(self, index: Int[np.ndarray, " chosen"] | Bool[np.ndarray, " graph"]) -> "GraphSet":
        """Return some graphs, by number in any order (also twice) or by mask.

        A run of neighbours is cut out without copying; anything else is copied. Raises IndexError outside.
        """
        index = np.flatnonzero(index) if index.dtype == np.bool_ else index.astype(np.int64)
        if index.size and (index.min() < 0 or index.max() >= len(self)):
            raise IndexError(f"graphs are numbered 0 to {len(self) - 1}")
        if index.size and np.array_equal(index, np.arange(index[0], index[0] + index.size)):
            return self.span(int(index[0]), int(index[-1]) + 1)
        nodes, node_ptr = _gathered(self.node_ptr, index)
        edges, edge_ptr = _gathered(self.edge_ptr, index)
        return replace(
            self, **{name: getattr(self, name)[nodes] for name in _NODES},
            **{name: getattr(self, name)[index] for name in _GRAPHS},
            edge_index=self.edge_index[:, edges], edge_attr=self.edge_attr[edges],
            node_ptr=node_ptr, edge_ptr=edge_ptr,
        )  # fmt: skip

    def span(self, first: int, last: int) -> "GraphSet":
        """Return the graphs from `first` to before `last` as views of the same arrays."""
        nodes = slice(self.node_ptr[first], self.node_ptr[last])
        edges = slice(self.edge_ptr[first], self.edge_ptr[last])
        return replace(
            self, **{name: getattr(self, name)[nodes] for name in _NODES},
            **{name: getattr(self, name)[first:last] for name in _GRAPHS},
            edge_index=self.edge_index[:, edges], edge_attr=self.edge_attr[edges],
            node_ptr=self.node_ptr[first : last + 1] - self.node_ptr[first],
            edge_ptr=self.edge_ptr[first : last + 1] - self.edge_ptr[first],
        )  # fmt: skip


ARRAYS = tuple(
    one.name for one in fields(GraphSet) if one.name not in ("sources", "vocabulary", "window", "stride")
)


def joined(sets: Sequence[GraphSet]) -> GraphSet:
    """Return the graphs of several sets, one after the other.

    Raises ValueError for no set, and for sets of different vocabularies, windows or strides.
    """
    if not sets or len({(one.vocabulary, one.window, one.stride) for one in sets}) != 1:
        raise ValueError("sets that are joined have one vocabulary, window and stride")
    shifts = np.cumsum([0, *(len(one.sources) for one in sets)])
    together = {
        name: np.concatenate([getattr(one, name) for one in sets], axis=1 if name == "edge_index" else 0)
        for name in ARRAYS
        if name not in ("node_ptr", "edge_ptr", "source")
    }
    return replace(
        sets[0], **together,
        source=np.concatenate([one.source + shift for one, shift in zip(sets, shifts, strict=False)]),
        node_ptr=pointers([np.diff(one.node_ptr) for one in sets]),
        edge_ptr=pointers([np.diff(one.edge_ptr) for one in sets]),
        sources=tuple(source for one in sets for source in one.sources),
    )  # fmt: skip


def pointers(sizes: Sequence[Int64[np.ndarray, " _"]]) -> Int64[np.ndarray, " _"]:
    """Return where each graph begins, and the end, from pieces of sizes a graph."""
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(np.concatenate(sizes), dtype=np.int64)])


def _gathered(
    held: Int64[np.ndarray, " _"], index: Int64[np.ndarray, " chosen"]
) -> tuple[Int64[np.ndarray, " _"], Int64[np.ndarray, " _"]]:
    """Return the rows of chosen graphs, and the pointers that they have then."""
    sizes = held[index + 1] - held[index]
    ends = pointers([sizes])
    rows = np.arange(ends[-1]) + np.repeat(held[index] - ends[:-1], sizes)
    return rows, ends
