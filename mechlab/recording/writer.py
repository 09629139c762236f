"""The writer of a recording: rows are handed over by the caller and written by one thread.

At most `flush_seconds` of rows are uncommitted while the disk keeps up. Source: docs/recording.md, "Writing".
"""

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

import numpy as np

from mechlab.errors import MechlabError
from mechlab.files import canonical_json
from mechlab.recording.backlog import Backlog, Flush, Policy
from mechlab.recording.batch import Batch
from mechlab.recording.commits import Commits
from mechlab.recording.fault import OnFault, judged, note_end
from mechlab.recording.form import fixed
from mechlab.recording.format import Column, lent, stored
from mechlab.recording.items import identity
from mechlab.recording.manifest import append_line
from mechlab.recording.pack import pack as pack_folder
from mechlab.recording.rooms import Rooms
from mechlab.recording.start import Start, check_free, created, locked, resumed
from mechlab.recording.statistics import Statistics
from mechlab.specs import Item

LIMIT_BYTES = 256 * 1024**2


class Writer:
    """Writes one rank of a recording. Made by `create` or `resume`; a context manager.

    Leaving the `with` block packs; an exception only commits. A fault of the disk is raised by the next call,
    or with `on_fault="go-on"` logged once, and rows are counted as dropped from then on.
    """

    def __init__(
        self,
        start: Start,
        *,
        limit_bytes: int,
        policy: Policy,
        flush_seconds: float,
        on_fault: OnFault,
        locks: ExitStack,
    ) -> None:
        is_known = policy in get_args(Policy) and on_fault in get_args(OnFault)
        if not is_known or limit_bytes < 1 or flush_seconds <= 0:
            raise ValueError(f"{policy=}, {on_fault=}, {limit_bytes=}, {flush_seconds=}")
        self._folder, self._rank = start.folder, start.rank
        self._locks = locks
        self._forms = dict(start.forms)
        self._table = list(start.items)
        self._rooms = Rooms(limit_bytes=limit_bytes)
        self._backlog = Backlog(limit_bytes=limit_bytes, policy=policy, goes_on=on_fault == "go-on")
        self._commits = Commits(
            self._backlog,
            start.folder,
            rank=start.rank,
            run_id=start.run_id,
            number=start.number,
            position=start.position,
            flush_seconds=flush_seconds,
        )
        self.sizes: dict[str, int] = {}  # bytes that each key was given
        self._rows, self._append_seconds = 0, 0.0
        self._is_closed = False
        self._commits.start()

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        attributes: dict[str, Any],
        rank: int = 0,
        limit_bytes: int = LIMIT_BYTES,
        policy: Policy = "block",
        flush_seconds: float = 2.0,
        on_fault: OnFault = "stop",
    ) -> "Writer":
        """Begin a recording in a new folder, or as another rank of the same recording.

        `attributes` are JSON values: run_id, spec and provenance become root attributes, all others facts.
        """
        check_free(folder)
        with locked(folder, rank) as locks:
            start = created(folder, attributes=attributes, rank=rank)
            return cls(
                start,
                limit_bytes=limit_bytes,
                policy=policy,
                flush_seconds=flush_seconds,
                on_fault=on_fault,
                locks=locks.pop_all(),
            )

    @classmethod
    def resume(
        cls,
        folder: Path,
        *,
        position: int,
        attributes: dict[str, Any] | None = None,
        rank: int = 0,
        limit_bytes: int = LIMIT_BYTES,
        policy: Policy = "block",
        flush_seconds: float = 2.0,
        on_fault: OnFault = "stop",
    ) -> "Writer":
        """Go on after the first `position` segments of a rank and drop its later ones.

        With `attributes`, a recording of another run is refused, and at position 0 an absent one is created.
        """
        if attributes is None and not folder.is_dir():
            raise MechlabError(f"'{folder}' does not exist; give the folder of a recording.")
        with locked(folder, rank) as locks:
            start = resumed(folder, position=position, rank=rank, attributes=attributes)
            return cls(
                start,
                limit_bytes=limit_bytes,
                policy=policy,
                flush_seconds=flush_seconds,
                on_fault=on_fault,
                locks=locks.pop_all(),
            )

    @property
    def position(self) -> int:
        """Number of committed segments of this rank; a checkpoint keeps it for `resume`."""
        return self._commits.position

    @property
    def fault(self) -> MechlabError | None:
        """What ended the recording, if something did."""
        return self._backlog.fault

    @property
    def statistics(self) -> Statistics:
        """What recording cost and lost so far."""
        lost = 0 if self.fault is None else self._rows - self._commits.rows
        return Statistics(
            rows=self._rows,
            bytes=sum(self.sizes.values()),
            segments=self._commits.segments,
            dropped_rows=self._backlog.dropped_rows + lost,
            dropped_batches=self._backlog.dropped_batches,
            blocked_seconds=self._backlog.blocked_seconds,
            append_seconds=self._append_seconds,
            longest_uncommitted_seconds=self._commits.longest_seconds,
        )

    def append(
        self,
        key: str,
        values: np.ndarray,
        *,
        axes: tuple[str, ...],
        coordinates: dict[str, np.ndarray],
        unit: str,
        attributes: dict[str, Any] | None = None,
        room: np.ndarray | None = None,
    ) -> None:
        """Hand over rows of a key; the arrays are copied before this returns, except values in a lent room.

        `axes` name the dimensions of `values`; rows lie along the first. Coordinates have one value a row.
        `attributes` are JSON values, given with a key's first rows. What the key fixed once must not change.
        `room` is a buffer of `lend` at whose start `values` lies: it is the writer's again, whatever happens.
        """
        began = time.monotonic()
        if self._is_closed:
            raise ValueError("the writer is closed")
        self._backlog.check()
        batch = self._batch(key, values, axes, coordinates, unit, attributes, room)
        if len(values) and self._backlog.put(batch):
            self._rows += len(values)
            self.sizes[key] = self.sizes.get(key, 0) + batch.nbytes
        else:
            batch.release()
        self._append_seconds += time.monotonic() - began

    def lend(self, nbytes: int) -> np.ndarray:
        """Return a buffer that is filled by the caller and handed over as `append(room=...)`."""
        return self._rooms.lend(nbytes)

    def items(self, table: Sequence[Item]) -> None:
        """Declare the item table; a table that was declared before may only be extended."""
        if [identity(item) for item in table[: len(self._table)]] != [identity(item) for item in self._table]:
            raise ValueError(f"the item table must begin with the {len(self._table)} items declared before")
        new = list(table[len(self._table) :])
        if new:
            self._backlog.order(new)
            self._table.extend(new)

    def note(self, facts: dict[str, Any]) -> None:
        """Add facts, JSON values, to the recording at once; a later fact of the same name wins."""
        self._backlog.check()
        canonical_json(facts)
        with judged(self._backlog, self._folder):
            append_line(self._folder, "facts", {"facts": facts})

    def commit(self) -> None:
        """Return when everything appended so far is durable."""
        self._flushed(is_last=False)

    def close(self, *, pack: bool = True) -> None:
        """Commit, end the thread, release the lock; then consolidate to recording.h5 (rank 0 only).

        With several ranks, close the others first.
        """
        if self._is_closed:
            return
        self._is_closed = True
        with self._locks:
            try:
                self._flushed(is_last=True)
            finally:
                self._commits.join()
            note_end(self._folder, self.statistics, fault=self.fault)
        if pack and self._rank == 0 and self.fault is None:
            with judged(self._backlog, self._folder):
                pack_folder(self._folder)

    def __enter__(self) -> "Writer":
        """Return the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; an exception on its way is never hidden by one of the recorder."""
        if fault is None:
            self.close()
            return
        try:
            self.close(pack=False)
        except MechlabError as second:
            if str(second) != str(fault):
                fault.add_note(f"while the recording was closed: {second}")

    def _flushed(self, *, is_last: bool) -> None:
        flush = Flush(threading.Event(), is_last)
        self._backlog.order(flush)
        flush.done.wait()
        self._backlog.check()

    def _batch(
        self,
        key: str,
        values: np.ndarray,
        axes: tuple[str, ...],
        coordinates: dict[str, np.ndarray],
        unit: str,
        attributes: dict[str, Any] | None,
        room: np.ndarray | None,
    ) -> Batch:
        column = stored(values) if room is None else lent(values, room)
        columns = {name: stored(coordinate) for name, coordinate in coordinates.items()}
        form = self._forms.get(key)
        kinds = {name: coordinate.kind for name, coordinate in columns.items()}
        found = (axes, values.shape[1:], column.kind, unit, kinds)
        if form is None or found != form.kinds or attributes not in (None, form.attributes):
            form = self._forms[key] = fixed(key, form, found, attributes, ndim=values.ndim)
        self._check_coordinates(key, len(values), columns)
        nbytes = column.values.nbytes + sum(coordinate.values.nbytes for coordinate in columns.values())
        return Batch(
            key=key,
            values=column,
            axes=axes,
            coordinates=columns,
            unit=unit,
            attributes=form.attributes,
            nbytes=nbytes,
            room=room,
            rooms=self._rooms,
        )

    def _check_coordinates(self, key: str, rows: int, columns: dict[str, Column]) -> None:
        for name, column in columns.items():
            if column.values.shape != (rows,):
                raise ValueError(
                    f"coordinate {name!r} of {key!r} has shape {column.values.shape} for {rows} rows"
                )
        item = columns.get("item")
        if item is not None and self._table and rows and int(item.values.max()) >= len(self._table):
            raise ValueError(f"{key!r} names item {int(item.values.max())} of a table of {len(self._table)}")
