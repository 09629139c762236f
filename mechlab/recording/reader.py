"""Recordings opened for reading: a folder of segments, a folder with recording.h5, or recording.h5 itself.

Source: docs/recording.md, "Reading".
"""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py

from mechlab.errors import MechlabError
from mechlab.recording.folder import check_digests, survey
from mechlab.recording.format import FORMAT, ITEMS, PACKED, VERSION, get_json, get_text
from mechlab.recording.items import read_items
from mechlab.recording.manifest import Log
from mechlab.recording.opened import Files, child_group, child_names
from mechlab.recording.quantity import Part, Quantity, missing_key, reading
from mechlab.specs import Item


class Recording:
    """What was recorded, by key "<quantity>/<site>". Opened by `open`; a context manager."""

    def __init__(self, path: Path, *, log: Log | None) -> None:
        self.path = path  # the packed file, or the folder of segments
        self._files = Files()
        self._log = log
        self.name: str = path.parent.name if path.name == PACKED else path.stem
        if log is None:
            self._attributes, self._parts, self.statistics = self._packed()
        else:
            self._attributes, self._parts, self.statistics = (
                log.attributes,
                self._segments(log),
                log.statistics,
            )

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

    def _packed(self) -> tuple[dict[str, Any], dict[str, tuple[Part, ...]], dict[str, float]]:
        file = self._files[self.path]
        with reading(self.path, "the root attributes"):
            if "rank" in file.attrs:
                self.close()
                raise MechlabError(f"'{self.path}' is one segment; give its folder '{self.path.parent}'.")
            attributes: dict[str, Any] = {"run_id": get_text(file, "run_id") or ""}
            attributes |= {name: get_json(file, name) for name in ("spec", "provenance", "facts")}
            statistics = dict(get_json(file, "statistics"))
        with reading(self.path, "the list of keys"):
            keys = sorted(_packed_keys(file), key=_natural)
        return attributes, {key: (Part(self.path, None),) for key in keys}, statistics

    def _segments(self, log: Log) -> dict[str, tuple[Part, ...]]:
        parts: dict[str, list[Part]] = {}
        for segment in log.segments:
            for key, rows in segment.rows.items():
                parts.setdefault(key, []).append(Part(self.path / segment.name, rows))
        return {key: tuple(parts[key]) for key in sorted(parts, key=_natural)}


def open(path: Path | str) -> Recording:
    """Open a recording lazily; see the module's docstring for what `path` may be."""
    path = Path(path)
    if path.is_file():
        return Recording(path, log=None)
    if not path.is_dir():
        raise MechlabError(f"'{path}' does not exist; give the path of a recording.")
    if (path / PACKED).exists():
        return Recording(path / PACKED, log=None)
    try:
        return Recording(path, log=survey(path))
    except MechlabError:
        if (path / PACKED).exists():  # packed between the two looks
            return Recording(path / PACKED, log=None)
        raise


def _packed_keys(file: h5py.File) -> Iterator[str]:
    for quantity in child_names(file):
        if quantity != ITEMS:
            for site in child_names(child_group(file, quantity)):
                yield f"{quantity}/{site}"


def _natural(key: str) -> list[tuple[int, str]]:
    return [(int(text), "") if text.isdecimal() else (-1, text) for text in re.split(r"(\d+)", key)]
