"""Graphs on the disk: flat arrays as .npy files, which are mapped into memory, and what they are as JSON.

A folder is whole or absent: it is written under another name and renamed. Its name is the hash of all that
its graphs depend on, and each array is compared with its SHA-256 before it is read, so a torn or altered
folder is made anew. Nothing in it is executed.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mechlab.errors import MechlabError
from mechlab.files import (
    canonical_json,
    lock,
    read_json,
    sha256_bytes,
    sha256_file,
    staged_folder,
    told,
    write_json,
)
from reproductions.can_ids.graph_set import ARRAYS, GraphSet, Source
from reproductions.can_ids.vocabulary import Vocabulary

VERSION = 1  # of the features and of the files; another one is another folder
_LOG = logging.getLogger(__name__)


def cached(root: Path, about: Mapping[str, Any], make: Callable[[], GraphSet]) -> tuple[GraphSet, Path]:
    """Return the graphs that `about` determines, from the cache below `root` or made now; and where they are.

    Of several processes that want the same graphs one makes them and the others wait. Writes to the arrays
    stay private. A full disk or a folder that may not be written is a MechlabError and leaves nothing behind.
    """
    key = sha256_bytes(canonical_json({"version": VERSION, **about}).encode())[:16]
    folder = root / key
    with told(folder), lock(root / f".{key}.lock", what="cache of graphs"):
        found = _opened(folder)
        if found is None:
            with staged_folder(folder) as stage:
                _write(stage, make(), about)
            found = _opened(folder)
    if found is None:
        raise MechlabError(f"the graphs in '{folder}' could not be read back; check the disk and try again.")
    return found, folder


def _write(stage: Path, graphs: GraphSet, about: Mapping[str, Any]) -> None:
    arrays = {}
    for name in ARRAYS:
        file = stage / f"{name}.npy"
        np.save(file, np.ascontiguousarray(getattr(graphs, name)), allow_pickle=False)
        arrays[name] = sha256_file(file)
    document = {
        "version": VERSION,
        "about": dict(about),
        "arrays": arrays,
        "sources": [asdict(source) for source in graphs.sources],
        "vocabulary": list(graphs.vocabulary.known),
        "window": graphs.window,
        "stride": graphs.stride,
    }
    write_json(stage / "graphs.json", document)


def _opened(folder: Path) -> GraphSet | None:
    """Map a cached folder; None where it is absent or damaged, which is logged."""
    if not folder.exists():
        return None
    try:
        stored = read_json(folder / "graphs.json")
        arrays: dict[str, Any] = {
            name: _mapped(folder / f"{name}.npy", stored["arrays"][name]) for name in ARRAYS
        }
        return GraphSet(
            **arrays, sources=tuple(Source(**source) for source in stored["sources"]),
            vocabulary=Vocabulary(tuple(stored["vocabulary"])), window=stored["window"],
            stride=stored["stride"],
        )  # fmt: skip
    except (MechlabError, OSError, ValueError, EOFError, KeyError, TypeError) as fault:
        _LOG.warning("the cached graphs in '%s' are damaged (%s); they are made again.", folder, fault)
        return None


def _mapped(file: Path, digest: str) -> np.ndarray:
    if sha256_file(file) != digest:
        raise ValueError(f"{file.name} is not what was written")
    array: np.ndarray = np.load(file, mmap_mode="c", allow_pickle=False)
    return np.asarray(array)
