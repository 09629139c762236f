"""Recordings opened for reading: a folder of segments, a folder with recording.h5, or recording.h5 itself.

A recording may be written meanwhile: `refresh` looks again. Source: docs/recording.md, "Reading while it is
written".
"""

import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import h5py

from mechlab.errors import MechlabError
from mechlab.recording.folder import check_digests, survey
from mechlab.recording.format import FORMAT, ITEMS, PACKED, VERSION, get_json, get_text
from mechlab.recording.items import read_items
from mechlab.recording.manifest import MANIFEST, Committed, Log, packed_segments
from mechlab.recording.opened import Files, child_group, child_names
from mechlab.recording.quantity import Part, Quantity, missing_key, reading
from mechlab.specs import Item

T = TypeVar("T")
_LOOKS = 20  # at a folder that changes between any two of them


class Rewound(MechlabError):
    """Rows that a reader saw were dropped by a resume."""

    def __init__(self, sentence: str, *, new: tuple[Committed, ...]) -> None:
        super().__init__(sentence)
        self.new = new  # committed since the reader looked last


class Recording:
    """What was recorded, by key "<quantity>/<site>". Opened by `open`; a context manager."""

    def __init__(self, path: Path, *, log: Log | None) -> None:
        self._files = Files()
        self.name: str = path.parent.name if path.name == PACKED else path.stem
        self._take(path, log)

    def _take(self, path: Path, log: Log | None) -> None:
        self.path = path  # the packed file, or the folder of segments
        self._log = log
        self.segments: tuple[Committed, ...]  # in the order of their rows
        if log is None:
            self._attributes, self._parts, self.statistics, self.segments = self._packed()
        else:
            self._attributes, self._parts = log.attributes, self._segments(log)
            self.statistics, self.segments = log.statistics, log.segments
        self.__dict__.pop("items", None)

    @property
    def attributes(self) -> dict[str, Any]:
        """Root attributes: format, version, run_id, spec, provenance."""
        named = {name: self._attributes[name] for name in ("run_id", "spec", "provenance")}
        return {"format": FORMAT, "version": VERSION} | named

    @property
    def facts(self) -> dict[str, Any]:
        """Whatever else the writer noted, as JSON values."""
        return dict(self._attributes["facts"])

    @property
    def is_packed(self) -> bool:
        """Whether this is one file."""
        return self._log is None

    def keys(self, pattern: str = "*") -> tuple[str, ...]:
        """Return the keys that match a shell pattern, numbers in their order; "*" also matches "/"."""
        return tuple(key for key in self._parts if fnmatchcase(key, pattern))

    def __contains__(self, key: object) -> bool:
        """Whether a key was recorded."""
        return key in self._parts

    def __iter__(self) -> Iterator[str]:
        """Give the keys."""
        return iter(self._parts)

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._parts)

    def __getitem__(self, key: str) -> Quantity:
        """Return the quantity under a key; an unknown key names the nearest ones."""
        if key not in self._parts:
            raise missing_key(key, self.keys())
        return Quantity(key, self._parts[key], files=self._files)

    @cached_property
    def items(self) -> tuple[Item, ...]:
        """The item table: coordinate `item` counts its rows."""
        if self._log is None:
            return read_items(self._files[self.path])
        holders = [segment for segment in self._log.segments if segment.items]
        table: list[Item] = []
        for segment in holders:
            if segment.rank == holders[0].rank:  # every rank that has a table has the same one
                table.extend(read_items(self._files[self.path / segment.name]))
        return tuple(table)

    def refresh(self) -> tuple[Committed, ...]:
        """Look again and return what was committed since; quantities taken from now on hold its rows.

        Only whole, committed segments are ever seen. A quantity that was taken before keeps the rows it had.
        Raises Rewound when a resume dropped rows that were seen, and MechlabError when another recording
        stands in the place; the recording holds what is there now in the first case.
        """
        before, run = self.segments, (self._attributes["run_id"], self._attributes["spec"])
        if self.is_packed:
            self._files.close()  # another file may bear the name by now
        _looked(self.path.parent if self.path.name == PACKED else self.path, self._take)
        if (self._attributes["run_id"], self._attributes["spec"]) != run:
            raise MechlabError(f"another recording stands at '{self.path}' by now; open it instead.")
        now = {segment.name: segment for segment in self.segments}
        seen = {segment.name for segment in before}
        new = tuple(segment for segment in self.segments if segment.name not in seen)
        lost = [each for each in before if each.name not in now or not each.is_same(now[each.name])]
        if lost:
            self._files.drop(self._folder / each.name for each in lost if each.name not in now)
            raise Rewound(_dropped(lost), new=new)
        return new

    @property
    def _folder(self) -> Path:
        return self.path.parent if self.path.is_file() else self.path

    def verify(self) -> None:
        """Read everything and compare all checksums; damage is one sentence."""
        if self._log is not None:
            check_digests(self.path, self._log)
        for key in self:
            quantity = self[key]
            rows = max(1, len(quantity) * 8 * 1024**2 // max(1, quantity.nbytes))
            for _ in quantity.chunks(rows):
                pass
            _ = quantity.coordinates
        _ = self.items

    def close(self) -> None:
        """Close the files."""
        self._files.close()

    def __enter__(self) -> "Recording":
        """Return the recording."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files."""
        self.close()

    def __repr__(self) -> str:
        """Show the path and the number of keys."""
        return f"Recording({str(self.path)!r}, {len(self)} keys)"

    def _packed(
        self,
    ) -> tuple[dict[str, Any], dict[str, tuple[Part, ...]], dict[str, float], tuple[Committed, ...]]:
        file = self._files[self.path]
        with reading(self.path, "the root attributes"):
            if "rank" in file.attrs:
                self.close()
                raise MechlabError(f"'{self.path}' is one segment; give its folder '{self.path.parent}'.")
            attributes: dict[str, Any] = {"run_id": get_text(file, "run_id") or ""}
            attributes |= {name: get_json(file, name) for name in ("spec", "provenance", "facts")}
            statistics = dict(get_json(file, "statistics"))
            segments = packed_segments(get_json(file, "segments"))
        with reading(self.path, "the list of keys"):
            keys = sorted(_packed_keys(file), key=_natural)
        return attributes, {key: (Part(self.path, None),) for key in keys}, statistics, segments

    def _segments(self, log: Log) -> dict[str, tuple[Part, ...]]:
        parts: dict[str, list[Part]] = {}
        for segment in log.segments:
            for key, rows in segment.rows.items():
                parts.setdefault(key, []).append(Part(self.path / segment.name, rows))
        return {key: tuple(parts[key]) for key in sorted(parts, key=_natural)}


def open(path: Path | str) -> Recording:
    """Open a recording lazily; see the module's docstring for what `path` may be."""
    return _looked(Path(path), lambda found, log: Recording(found, log=log))


def _looked(place: Path, take: Callable[[Path, Log | None], T]) -> T:
    """Hand over what is found at a place; once more when it was packed or resumed between the two looks."""
    path, log = _found(place)
    try:
        return take(path, log)
    except MechlabError:
        if path.exists():
            raise
    return take(*_found(place))


def _found(place: Path) -> tuple[Path, Log | None]:
    """Return the packed file, or the folder and what it holds, while a writer may be changing it."""
    if place.is_file():
        return place, None
    if not place.is_dir():
        raise MechlabError(f"'{place}' does not exist; give the path of a recording.")
    for look in range(_LOOKS):
        if (place / PACKED).exists():
            return place / PACKED, None
        stamp = _stamp(place)
        try:
            return place, survey(place)
        except MechlabError:
            is_still = _stamp(place) == stamp and not (place / PACKED).exists()
            if is_still or look == _LOOKS - 1:
                raise
    raise AssertionError("the last look returns or raises")


def _stamp(folder: Path) -> tuple[int, int, int] | None:
    """Return what changes with every line of the manifest."""
    try:
        status = (folder / MANIFEST).stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _dropped(lost: list[Committed]) -> str:
    steps = [bound for segment in lost if segment.steps for bound in segment.steps]
    which = f" (steps {min(steps)} to {max(steps)})" if steps else ""
    rows = sum(count for segment in lost for count in segment.rows.values())
    return (
        f"{rows} rows that were read before{which} were dropped by a resume; "
        "take every quantity from the recording again."
    )


def _packed_keys(file: h5py.File) -> Iterator[str]:
    for quantity in child_names(file):
        if quantity != ITEMS:
            for site in child_names(child_group(file, quantity)):
                yield f"{quantity}/{site}"


def _natural(key: str) -> list[tuple[int, str]]:
    return [(int(text), "") if text.isdecimal() else (-1, text) for text in re.split(r"(\d+)", key)]
