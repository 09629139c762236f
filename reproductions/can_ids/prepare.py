"""From a folder of logs to the graphs of its splits, kept in the cache: here training and judging begin."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mechlab.files import sha256_file
from reproductions.can_ids.folder import CanFolder
from reproductions.can_ids.graph_cache import cached
from reproductions.can_ids.graph_set import ATTACK, GraphSet, joined
from reproductions.can_ids.reading import read
from reproductions.can_ids.splits import stretches, vocabulary_of
from reproductions.can_ids.windows import STRIDE, WINDOW, graphs_of


def prepared(
    folder: CanFolder,
    *,
    cache: Path,
    way: str = "published",
    window: int = WINDOW,
    stride: int = STRIDE,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[GraphSet, Path]:
    """Return the graphs of a folder, and the folder of the cache that holds them.

    `graphs.of_split("train")` are those to train on, likewise "validation" and "test"; a test graph's group
    is that of its source. `way` is one of `splits.WAYS`. `cache` is the folder of all caches; graphs lie in
    its `can`. They are known by the contents of the logs, their names, the window, the stride and the way.

    Raises:
        MechlabError: what the readers, the windows and the splits refuse.
    """
    about = {
        "logs": [[file.source.part, file.source.name, sha256_file(file.path)] for file in folder.files],
        "way": way,
        "window": window,
        "stride": stride,
    }

    def make() -> GraphSet:
        logs = []
        for file in folder.files:
            say(f"reading {file.path.name}")
            logs.append(read(file.path))
        found = stretches(folder, logs, way=way)
        vocabulary = vocabulary_of(found)
        return joined([
            graphs_of(one.log, one.source, vocabulary=vocabulary, window=window, stride=stride)
            for one in found
        ])  # fmt: skip

    return cached(cache / "can", about, make)


def counts(graphs: GraphSet) -> list[dict[str, Any]]:
    """Return, for each split, group and attack of its logs, how many windows, nodes and edges there are."""
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for number, source in enumerate(graphs.sources):
        own = np.flatnonzero(graphs.source == number)
        row = rows.setdefault(
            (source.split, source.group, source.attack),
            {"split": source.split, "group": source.group, "attack": source.attack, "windows": 0,
             "attack_windows": 0, "nodes": 0, "edges": 0},
        )  # fmt: skip
        row["windows"] += own.size
        row["attack_windows"] += int((graphs.y[own] == ATTACK).sum())
        row["nodes"] += int((graphs.node_ptr[own + 1] - graphs.node_ptr[own]).sum())
        row["edges"] += int((graphs.edge_ptr[own + 1] - graphs.edge_ptr[own]).sum())
    return list(rows.values())
