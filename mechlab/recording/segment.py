"""One segment: an HDF5 file that is gathered under a temporary name and becomes visible whole or not at all.

Committed means: closed, fsynced, renamed, and the folder fsynced. Source: docs/recording.md, "Segments".
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mechlab.errors import MechlabError
from mechlab.files import sha256_file, told
from mechlab.recording.chunk import chunk_shape, create, fills_chunk, write_chunk, write_rows, write_whole
from mechlab.recording.format import (
    FORMAT,
    VALUES,
    VERSION,
    Column,
    get_json,
    put_json,
    put_text,
    split_key,
)
from mechlab.recording.items import write_items
from mechlab.recording.rooms import Rooms
from mechlab.specs import Item

GATHER_BYTES = 1024**2  # rows are gathered up to this size before a chunk is cut
LIBVER = ("v110", "v110")  # since this version HDF5 also checksums its own structures
_NAME = re.compile(r"r(\d+)-(\d{6,})\.h5")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows of one key with what describes them; rows are the first axis."""

    key: str
    values: Column
    axes: tuple[str, ...]
    coordinates: dict[str, Column]
    unit: str
    attributes: dict[str, Any]
    nbytes: int
    room: np.ndarray | None = None  # the lent buffer that the values lie in
    rooms: Rooms | None = None  # where it goes when the values are written
    born: float = field(default_factory=time.monotonic)  # seconds

    def release(self) -> None:
        """Give the lent buffer back: the values are written, or given up."""
        if self.room is not None and self.rooms is not None:
            self.rooms.give_back(self.room)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What the manifest says of a segment: rows of each key, first and last step, number of items."""

    rows: dict[str, int]
    steps: tuple[int, int] | None
    items: int


def segment_name(rank: int, number: int) -> str:
    """Return the file name of a segment."""
    return f"r{rank}-{number:06d}.h5"


def rank_and_number(name: str) -> tuple[int, int] | None:
    """Return rank and number of a segment's file name, or None for any other name."""
    match = _NAME.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a fault of the disk or of HDF5 into one sentence about `path`."""
    try:
        with told(path), _numbered():
            yield
    except (OSError, RuntimeError) as fault:
        number = getattr(fault, "errno", None)
        reason = os.strerror(number) if number else str(fault).split("\n")[0]
        raise MechlabError(
            f"cannot write '{path}': {reason}; nothing half-written is left behind."
        ) from fault


@contextmanager
def _numbered() -> Iterator[None]:
    """Give a fault that HDF5 met while it closed a file its number, which stands in the text alone."""
    try:
        yield
    except RuntimeError as fault:
        found = re.search(r"errno = (\d+)", str(fault))
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1]))) from fault


def sync(path: Path) -> None:
    """Make a file's bytes, or a folder's names, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Segment:
    """The segment being written. Not visible to readers until `commit` returns."""

    def __init__(self, folder: Path, *, rank: int, number: int, run_id: str) -> None:
        self.path = folder / segment_name(rank, number)
        self._part = folder / f".{self.path.name}.part"
        self._keys: dict[str, _Rows] = {}
        self._items: list[Item] = []
        self.held = 0  # bytes that wait in memory for company
        try:
            self._file = h5py.File(self._part, "w", libver=LIBVER)
            put_text(self._file, "format", FORMAT)
            self._file.attrs["version"] = VERSION
            put_text(self._file, "run_id", run_id)
            self._file.attrs["rank"] = rank
            self._file.attrs["number"] = number
        except BaseException:
            self._part.unlink(missing_ok=True)
            raise

    def add(self, batch: Batch) -> None:
        """Take rows; large ones go to the file at once, small ones wait for company."""
        if batch.key not in self._keys:
            self._keys[batch.key] = _Rows(site_group(self._file, batch.key), batch)
        rows = self._keys[batch.key]
        before = rows.held
        rows.add(batch)
        self.held += rows.held - before

    def add_items(self, items: list[Item]) -> None:
        """Take rows of the item table."""
        self._items.extend(items)

    def commit(self) -> tuple[Contents, int, str]:
        """Write the rest, close, fsync, rename; return contents, size in bytes and SHA-256."""
        for rows in self._keys.values():
            rows.finish()
        write_items(self._file, self._items)
        steps = [rows.steps for rows in self._keys.values() if rows.steps is not None]
        contents = Contents(
            rows={key: rows.count for key, rows in self._keys.items()},
            steps=(min(low for low, _ in steps), max(high for _, high in steps)) if steps else None,
            items=len(self._items),
        )
        put_json(
            self._file, "contents", {"rows": contents.rows, "steps": contents.steps, "items": contents.items}
        )
        self._file.close()
        sync(self._part)
        size, digest = self._part.stat().st_size, sha256_file(self._part)
        self._part.rename(self.path)
        sync(self.path.parent)
        return contents, size, digest

    def discard(self) -> None:
        """Remove what is not committed; never raises."""
        try:
            self._file.close()
        except (OSError, RuntimeError):
            pass  # a full disk also fails the close; the bytes are given up anyway
        finally:
            self._part.unlink(missing_ok=True)


class _Rows:
    """The rows of one key in one segment."""

    def __init__(self, group: h5py.Group, first: Batch) -> None:
        self._group = group
        self._first = first
        self._data: h5py.Dataset | None = None
        self._chunk_rows = 0
        self._pieces: list[np.ndarray] = []
        self._batches: list[Batch] = []  # whose buffers the pieces lie in
        self._pending = 0  # rows in pieces
        self._written = 0
        self._coordinates: dict[str, list[np.ndarray]] = {name: [] for name in first.coordinates}
        self.held = 0
        self.steps: tuple[int, int] | None = None

    @property
    def count(self) -> int:
        return self._written + self._pending

    def add(self, batch: Batch) -> None:
        values = batch.values.values
        self._pieces.append(values)
        self._batches.append(batch)
        self._pending += len(values)
        for name, column in batch.coordinates.items():
            self._coordinates[name].append(column.values)
        self.held += batch.nbytes
        step = batch.coordinates.get("step")
        if step is not None and step.values.dtype.kind in "iu":
            low, high = int(step.values.min()), int(step.values.max())
            self.steps = (min(low, self.steps[0]), max(high, self.steps[1])) if self.steps else (low, high)
        if values.dtype.kind != "S" and self._is_enough(values[0].nbytes):
            self._cut(everything=False)

    def _is_enough(self, row_bytes: int) -> bool:
        if self._data is None:
            return self._pending * row_bytes >= GATHER_BYTES
        return self._pending >= self._chunk_rows

    def _cut(self, *, everything: bool) -> None:
        """Write whole chunks, or everything that waits."""
        values = self._pieces[0] if len(self._pieces) == 1 else np.concatenate(self._pieces)
        if self._data is None:
            column = Column(values, self._first.values.is_bool)
            chunk = chunk_shape(values.shape, values.dtype.itemsize)
            self._data = create(self._group, VALUES, column, chunk=chunk, rows=None)
            self._chunk_rows = chunk[0]
        whole = len(values) if everything else len(values) // self._chunk_rows * self._chunk_rows
        room = self._batches[0].room if len(self._batches) == len(self._pieces) == 1 else None
        if room is not None and fills_chunk(self._data, values, room=room):
            write_chunk(self._data, self._written, values, room=room)
        else:
            write_rows(self._data, self._written, values[:whole])
        self._written += whole
        self._pending -= whole
        self.held -= values[:whole].nbytes
        self._pieces = [values[whole:].copy()] if self._pending else []
        for batch in self._batches:
            batch.release()
        self._batches = []

    def finish(self) -> None:
        """Write what waits, the coordinates, and the description."""
        if self._pending:
            self._cut(everything=True)
        for name, pieces in self._coordinates.items():
            column = Column(np.concatenate(pieces), self._first.coordinates[name].is_bool)
            write_whole(self._group, name, column)
        first = self._first
        describe_values(
            self._data,
            axes=first.axes,
            coordinates=tuple(first.coordinates),
            unit=first.unit,
            attributes=first.attributes,
        )
        self.held = 0


def site_group(file: h5py.File, key: str) -> h5py.Group:
    """Create and return the group of a key."""
    quantity, site = split_key(key)
    return file.require_group(quantity).create_group(site)


def describe_values(
    data: h5py.Dataset,
    *,
    axes: tuple[str, ...],
    coordinates: tuple[str, ...],
    unit: str,
    attributes: dict[str, Any],
) -> None:
    """Write axes, names of coordinates, unit and the caller's attributes beside the values."""
    put_json(data, "axes", list(axes))
    put_text(data, "coordinates", " ".join(coordinates))  # as in the CF conventions
    put_text(data, "unit", unit)
    put_json(data, "attributes", attributes)


def read_contents(file: h5py.File) -> Contents:
    """Return the contents of a committed segment from the segment itself.

    Raises ValueError or TypeError when they are damaged.
    """
    value = get_json(file, "contents")
    steps = value["steps"]
    return Contents(
        rows=dict(value["rows"]), steps=(steps[0], steps[1]) if steps else None, items=value["items"]
    )
