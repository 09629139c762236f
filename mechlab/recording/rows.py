"""The rows of one key while a segment is written: gathered to whole chunks."""

import h5py
import numpy as np

from mechlab.recording.batch import Batch
from mechlab.recording.chunk import chunk_shape, create, fills_chunk, write_chunk, write_rows, write_whole
from mechlab.recording.description import Description
from mechlab.recording.format import VALUES, Column

GATHER_BYTES = 1024**2  # rows are gathered up to this size before a chunk is cut
_SHARED_BYTES = 64 * 1024  # longer coordinates are rarely equal


class Coordinates:
    """The coordinates of a segment. Equal ones are one data set with a hard link from each of their places.

    A segment has several for each key, most of them the same steps and counts; to create a data set takes
    longer than to link one, and the recorded loop waits for the interpreter meanwhile.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, bool, bytes], h5py.h5d.DatasetID] = {}

    def write(self, group: h5py.Group, name: str, column: Column) -> None:
        """Write one coordinate of a key, or link it."""
        if column.values.nbytes > _SHARED_BYTES:
            write_whole(group, name, column)
            return
        contents = (column.values.dtype.str, column.is_bool, column.values.tobytes())
        known = self._known.get(contents)
        if known is None:
            self._known[contents] = write_whole(group, name, column).id
        else:
            h5py.h5o.link(known, group.id, name.encode())


class Rows:
    """The rows of one key in one segment."""

    def __init__(self, group: h5py.Group, first: Batch, *, coordinates: Coordinates) -> None:
        self._group = group
        self._first = first
        self._shared = coordinates
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
        """Number of rows that were added."""
        return self._written + self._pending

    @property
    def description(self) -> Description:
        """What stands beside the values."""
        first = self._first
        return Description(
            axes=first.axes,
            coordinates=tuple(first.coordinates),
            unit=first.unit,
            attributes=first.attributes,
        )

    def add(self, batch: Batch) -> None:
        """Take rows; as soon as they fill chunks, they are written."""
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
            self._cut()

    def finish(self) -> None:
        """Write what waits, and the coordinates."""
        if self._data is None:
            self._data = write_whole(
                self._group, VALUES, Column(self._gathered(), self._first.values.is_bool)
            )
            self._release()
        elif self._pending:
            write_rows(self._data, self._written, self._gathered())
            self._release()
        for name, pieces in self._coordinates.items():
            values = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
            self._shared.write(self._group, name, Column(values, self._first.coordinates[name].is_bool))
        self.held = 0

    def _is_enough(self, row_bytes: int) -> bool:
        if self._data is None:
            return self._pending * row_bytes >= GATHER_BYTES
        return self._pending >= self._chunk_rows

    def _gathered(self) -> np.ndarray:
        return self._pieces[0] if len(self._pieces) == 1 else np.concatenate(self._pieces)

    def _cut(self) -> None:
        """Write whole chunks."""
        values = self._gathered()
        if self._data is None:
            column = Column(values, self._first.values.is_bool)
            chunk = chunk_shape(values.shape, values.dtype.itemsize)
            self._data = create(self._group, VALUES, column, chunk=chunk, rows=None)
            self._chunk_rows = chunk[0]
        whole = len(values) // self._chunk_rows * self._chunk_rows
        room = self._batches[0].room if len(self._batches) == len(self._pieces) == 1 else None
        if room is not None and fills_chunk(self._data, values, room=room):
            write_chunk(self._data, self._written, values, room=room)
        else:
            write_rows(self._data, self._written, values[:whole])
        self._written += whole
        self._pending -= whole
        self.held -= values[:whole].nbytes
        rest = [values[whole:].copy()] if self._pending else []
        self._release()
        self._pieces = rest

    def _release(self) -> None:
        """Give the buffers back whose rows are written."""
        for batch in self._batches:
            batch.release()
        self._batches, self._pieces = [], []
