"""One quantity at one site, read lazily along its first axis. Source: docs/recording.md, "Keys"."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mechlab.errors import MechlabError
from mechlab.recording.description import get_description
from mechlab.recording.format import VALUES, decoded, get_text, split_key
from mechlab.recording.not_finite import get_not_finite
from mechlab.recording.opened import Files, child_data, child_group, damaged

_BLOCK_BYTES = 8 * 1024**2  # scattered rows that lie this close are read together


@dataclass(frozen=True, slots=True)
class Part:
    """A file that holds rows of a key; `rows` None means as many as are there (a packed file)."""

    path: Path
    rows: int | None


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn a fault of HDF5 or of the structure into one sentence that names file and key."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as fault:
        raise damaged(path, what, fault) from fault


class Quantity:
    """Values of one key with their axes, unit and coordinates; nothing is read before it is asked for.

    `quantity[index]` takes rows along the first axis: a number, a slice, an array of numbers or booleans,
    as they are stored; `exact` gives the numbers that were recorded.
    """

    def __init__(self, key: str, parts: Sequence[Part], *, files: Files) -> None:
        self.key = key
        self._files = files
        first = parts[0]
        with reading(first.path, f"'{key}'"):
            data = self._open(first.path, VALUES)
            self.description = files.descriptions(first.path).get(key) or get_description(data)
            self.not_finite = get_not_finite(data)  # values that float16 could not hold; None: not counted
            self._tail: tuple[int, ...] = data.shape[1:]
            self._stored: np.dtype[Any] = data.dtype
            self._is_bool = get_text(data, "dtype") == "bool"
            if len(self.axes) != data.ndim:
                raise ValueError(f"{data.ndim} dimensions but axes {self.axes}")
            counts = [len(data) if part.rows is None else part.rows for part in parts]
        self._parts = tuple(parts)
        self._edges = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the dimensions."""
        return self.description.axes

    @property
    def unit(self) -> str:
        """Unit of the values, or nothing."""
        return self.description.unit

    @property
    def attributes(self) -> dict[str, Any]:
        """What the caller gave beside the values; a copy, since equal keys share one description."""
        return dict(self.description.attributes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return (len(self), *self._tail)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values as they are given back; text shows as `str`."""
        if self._is_bool:
            return np.dtype(np.bool_)
        return np.dtype(np.str_) if self._is_text else self._stored

    @property
    def nbytes(self) -> int:
        """Size of the values in bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self._stored.itemsize

    @cached_property
    def coordinates(self) -> dict[str, np.ndarray]:
        """Arrays along the first axis: name -> one value a row."""
        return {name: self._coordinate(name) for name in self.description.coordinates}

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self._edges[-1])

    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray | np.integer[Any]) -> np.ndarray:
        """Return rows. Raises IndexError outside, TypeError for an index of another kind."""
        if isinstance(index, int | np.integer) and not isinstance(index, bool):
            return np.asarray(self._take(self._inside(np.array([index])))[0])
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            return (
                self._span(start, max(start, stop)) if step == 1 else self._take(np.arange(start, stop, step))
            )
        if isinstance(index, tuple):
            raise TypeError("rows are chosen along the first axis only; index the returned array further")
        rows = np.asarray(index)
        if rows.dtype == np.bool_:
            if rows.shape != (len(self),):
                raise IndexError(f"a mask of shape {rows.shape} for {len(self)} rows")
            return self._take(np.flatnonzero(rows))
        if rows.ndim != 1 or (rows.dtype.kind not in "iu" and rows.size):
            raise TypeError(
                "give a row number, a slice, or a one-dimensional array of row numbers or booleans"
            )
        return self._take(self._inside(rows.astype(np.int64)))

    def exact(self, index: slice | Sequence[int] | np.ndarray) -> np.ndarray:
        """Return rows as float64, divided by the power of two that float16 was stored with; text as it is.

        Raises the errors of `quantity[index]`.
        """
        values = self[index]
        if self._is_text:
            return values
        scale = self.coordinates.get("scale")
        values = values.astype(np.float64)
        return values if scale is None else values / scale[index].reshape(-1, *[1] * (values.ndim - 1))

    def read(self) -> np.ndarray:
        """Return all rows."""
        return self._span(0, len(self))

    def chunks(self, rows: int) -> Iterator[tuple[slice, np.ndarray]]:
        """Give the rows in blocks of at most `rows`, each with its place."""
        if rows < 1:
            raise ValueError(f"blocks of {rows} rows; give 1 or more")
        for start in range(0, len(self), rows):
            place = slice(start, min(start + rows, len(self)))
            yield place, self._span(place.start, place.stop)

    def __repr__(self) -> str:
        """Show key, axes, shape and unit."""
        axes = ", ".join(f"{axis} {length}" for axis, length in zip(self.axes, self.shape, strict=True))
        return f"Quantity({self.key!r}: {axes}; {self.dtype}, {self.unit or 'no unit'})"

    @property
    def _is_text(self) -> bool:
        return self._stored.kind in "SO"

    def _inside(self, rows: np.ndarray) -> np.ndarray:
        if rows.size and (rows.min() < -len(self) or rows.max() >= len(self)):
            raise IndexError(f"row {rows.min() if rows.min() < 0 else rows.max()} of {len(self)} rows")
        return np.where(rows < 0, rows + len(self), rows)

    def _open(self, path: Path, name: str) -> h5py.Dataset:
        quantity, site = split_key(self.key)
        return child_data(child_group(child_group(self._files[path], quantity), site), name)

    def _span(self, start: int, stop: int) -> np.ndarray:
        """Return rows start..stop, part by part."""
        if self._is_text:
            pieces = [decoded(piece, is_bool=False) for _, piece in self._pieces(start, stop)]
            return np.concatenate([np.empty((0, *self._tail), np.str_), *pieces])
        out = np.empty((stop - start, *self._tail), self._stored)
        for place, piece in self._pieces(start, stop):
            out[place] = piece
        return decoded(out, is_bool=self._is_bool)

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[slice, np.ndarray]]:
        first = int(np.searchsorted(self._edges, start, side="right")) - 1
        for part, low, high in zip(
            self._parts[first:], self._edges[first:-1], self._edges[first + 1 :], strict=True
        ):
            if low >= stop:
                return
            begin, end = max(start, int(low)), min(stop, int(high))
            if begin == end:
                continue
            with reading(part.path, f"'{self.key}'"):
                data = self._open(part.path, VALUES)
                self._check_part(data, int(high - low))
                piece = data[begin - int(low) : end - int(low)]
            yield slice(begin - start, end - start), piece

    def _check_part(self, data: h5py.Dataset, rows: int) -> None:
        is_same_type = data.dtype == self._stored or self._is_text
        if data.shape != (rows, *self._tail) or not is_same_type:
            raise ValueError(f"{data.dtype} {data.shape} instead of {self._stored} {(rows, *self._tail)}")

    def _take(self, rows: np.ndarray) -> np.ndarray:
        """Return rows in any order; neighbours are read together."""
        if self._is_text:
            return np.asarray(self.read()[rows])
        out = np.empty((len(rows), *self._tail), self.dtype)
        order = np.argsort(rows, kind="stable")
        ascending = rows[order]
        row_bytes = max(1, int(np.prod(self._tail, dtype=np.int64)) * self._stored.itemsize)
        reach = max(1, _BLOCK_BYTES // row_bytes)
        at = 0
        while at < len(rows):
            until = int(np.searchsorted(ascending, ascending[at] + reach))
            block = self._span(int(ascending[at]), int(ascending[until - 1]) + 1)
            out[order[at:until]] = block[ascending[at:until] - ascending[at]]
            at = until
        return out

    def _coordinate(self, name: str) -> np.ndarray:
        pieces = []
        for part, low, high in zip(self._parts, self._edges[:-1], self._edges[1:], strict=True):
            with reading(part.path, f"coordinate '{name}' of '{self.key}'"):
                data = self._open(part.path, name)
                if data.shape != (int(high - low),):
                    raise ValueError(f"shape {data.shape} for {int(high - low)} rows")
                pieces.append(decoded(data[()], is_bool=get_text(data, "dtype") == "bool"))
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def missing_key(key: str, known: Sequence[str]) -> MechlabError:
    """Return the error for a key that was not recorded, with the nearest known ones."""
    near = get_close_matches(key, known, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
    return MechlabError(
        f"nothing is recorded under '{key}'.{hint} {len(known)} keys are, e.g. {', '.join(known[:5])}."
    )
