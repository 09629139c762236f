"""One segment: an HDF5 file that is gathered under a temporary name and becomes visible whole or not at all.

Committed means: closed, fsynced, renamed, and the folder fsynced. Source: docs/recording.md, "Segments".
"""

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import h5py

from mechlab.errors import MechlabError
from mechlab.files import sha256_file, told
from mechlab.recording.batch import Batch
from mechlab.recording.description import put_descriptions
from mechlab.recording.format import (
    FORMAT,
    VERSION,
    get_json,
    put_json,
    put_text,
    split_key,
)
from mechlab.recording.items import write_items
from mechlab.recording.rows import Coordinates, Rows
from mechlab.specs import Item

LIBVER = ("v110", "v110")  # since this version HDF5 also checksums its own structures
_NAME = re.compile(r"r(\d+)-(\d{6,})\.h5")


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
        self._keys: dict[str, Rows] = {}
        self._groups: dict[str, h5py.Group] = {}  # by quantity
        self._coordinates = Coordinates()
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
            group = site_group(self._file, batch.key, known=self._groups)
            self._keys[batch.key] = Rows(group, batch, coordinates=self._coordinates)
        rows = self._keys[batch.key]
        before = rows.held
        rows.add(batch)
        self.held += rows.held - before

    def add_items(self, items: list[Item]) -> None:
        """Take rows of the item table."""
        self._items.extend(items)

    def commit(self, *, pause: Callable[[], None] | None = None) -> tuple[Contents, int, str]:
        """Write the rest, close, fsync, rename; return contents, size in bytes and SHA-256.

        `pause` is called after each key.
        """
        for rows in self._keys.values():
            rows.finish()
            if pause is not None:
                pause()
        put_descriptions(self._file, {key: rows.description for key, rows in self._keys.items()})
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
        with ThreadPoolExecutor(max_workers=1) as beside:  # the digest is there before the disk is
            hashed = beside.submit(sha256_file, self._part)
            sync(self._part)
        size, digest = self._part.stat().st_size, hashed.result()
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


def site_group(file: h5py.File, key: str, *, known: dict[str, h5py.Group] | None = None) -> h5py.Group:
    """Create and return the group of a key; `known` keeps the groups of quantities for the next call."""
    quantity, site = split_key(key)
    groups = {} if known is None else known
    if quantity not in groups:
        groups[quantity] = file.require_group(quantity)
    links, properties = _group_properties()
    # Not `create_group`, which makes both anew for each of a hundred keys.
    return h5py.Group(h5py.h5g.create(groups[quantity].id, site.encode(), lcpl=links, gcpl=properties))


@cache
def _group_properties() -> tuple[h5py.h5p.PropLCID, h5py.h5p.PropGCID]:
    """Return how a group is linked and made: its name in UTF-8, without times, so that files repeat."""
    links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    links.set_char_encoding(h5py.h5t.CSET_UTF8)
    properties = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
    properties.set_obj_track_times(False)
    return links, properties


def read_contents(file: h5py.File) -> Contents:
    """Return the contents of a committed segment from the segment itself.

    Raises ValueError or TypeError when they are damaged.
    """
    value = get_json(file, "contents")
    steps = value["steps"]
    return Contents(
        rows=dict(value["rows"]), steps=(steps[0], steps[1]) if steps else None, items=value["items"]
    )
