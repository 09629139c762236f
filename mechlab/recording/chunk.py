"""Whole chunks with their checksum, written past HDF5's chunk cache.

The Fletcher-32 filter of HDF5 checks each chunk whenever any reader touches it. `write_direct_chunk` skips
the filters, so the checksum is computed here. Source: HDF5 file format, filter 3.
"""

import itertools
import math
from functools import cache

import h5py
import numpy as np

from mechlab.recording.format import Column, put_text
from mechlab.recording.rooms import SPARE_BYTES

CHUNK_BYTES = 4 * 1024**2  # no chunk is larger, unless one element is
_SMALL_BYTES = 64 * 1024  # up to here HDF5's own filters are quicker than Python's calls around them
_WIDTH = 256  # words a line of the folded sum


def fletcher32(data: np.ndarray) -> int:
    """Return HDF5's Fletcher-32 checksum of an array's bytes (at most 32 MiB)."""
    raw = data.reshape(-1).view(np.uint8)
    padded = -len(raw) % (2 * _WIDTH)
    body = raw if not padded else np.concatenate([raw, np.zeros(padded, np.uint8)])
    words = body.view("<u2").reshape(-1, _WIDTH)
    # 256 words of at most 65535 fit a uint32, and so do 65536 lines of them
    lines = words.sum(axis=1, dtype=np.uint32).astype(np.uint64)
    columns = words.sum(axis=0, dtype=np.uint32).astype(np.uint64)
    count = (len(raw) + 1) // 2
    total = int(lines.sum())
    position = _WIDTH * int((np.arange(len(lines), dtype=np.uint64) * lines).sum())
    position += int((np.arange(_WIDTH, dtype=np.uint64) * columns).sum())
    # HDF5 reads words big-endian: swapping the bytes of a word multiplies it by 256 modulo 65535
    return _folded(256 * (count * total - position)) << 16 | _folded(256 * total)


def _folded(value: int) -> int:
    """Reduce modulo 65535 as end-around carry does: only zero itself becomes zero."""
    return (value - 1) % 65535 + 1 if value else 0


def chunk_shape(shape: tuple[int, ...], itemsize: int, *, limit: int = CHUNK_BYTES) -> tuple[int, ...]:
    """Return a chunk of at most `limit` bytes: whole rows, as equal as possible; a row too large is split."""
    chunk = list(shape)
    for axis, length in enumerate(shape):
        fit = max(1, limit // (math.prod(chunk[axis + 1 :]) * itemsize))
        chunk[axis] = math.ceil(length / math.ceil(length / fit))
        if fit > 1:
            break
    return tuple(chunk)


@cache
def _checked(chunk: tuple[int, ...]) -> h5py.h5p.PropDCID:
    """Return how a data set is laid out: in chunks with checksums, without times, so that files repeat."""
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_chunk(chunk)
    layout.set_fletcher32()
    layout.set_obj_track_times(False)
    return layout


def create(
    group: h5py.Group, name: str, column: Column, *, chunk: tuple[int, ...], rows: int | None
) -> h5py.Dataset:
    """Create a checked data set like `column`; without `rows` it grows along the first axis."""
    tail = column.values.shape[1:]
    space = h5py.h5s.create_simple((rows or 0, *tail), (h5py.h5s.UNLIMITED if rows is None else rows, *tail))
    kind = h5py.h5t.py_create(column.values.dtype, logical=True)
    data = h5py.Dataset(h5py.h5d.create(group.id, name.encode(), kind, space, _checked(chunk)))
    if column.is_bool:
        put_text(data, "dtype", "bool")  # the mark of netCDF tools for booleans
    if column.values.dtype.kind == "S":
        put_text(data, "_Encoding", "utf-8")  # likewise for text
    return data


def write_rows(data: h5py.Dataset, start: int, values: np.ndarray) -> None:
    """Write rows that begin at a chunk's edge; what is missing of the last chunk is filled with zeros."""
    if start + len(values) > len(data):
        data.resize(start + len(values), axis=0)
    chunk = data.chunks
    size = math.prod(chunk) * values.dtype.itemsize
    scratch = np.zeros(size + 4, np.uint8)
    block = scratch[:size].view(values.dtype).reshape(chunk)
    for corner in itertools.product(
        *(range(0, n, step) for n, step in zip(values.shape, chunk, strict=True))
    ):
        piece = values[tuple(slice(at, at + step) for at, step in zip(corner, chunk, strict=True))]
        if piece.shape != chunk:
            scratch[:size] = 0
        block[tuple(slice(n) for n in piece.shape)] = piece
        scratch[size:].view("<u4")[0] = fletcher32(scratch[:size])
        data.id.write_direct_chunk((start + corner[0], *corner[1:]), scratch)


def fills_chunk(data: h5py.Dataset, values: np.ndarray, *, room: np.ndarray) -> bool:
    """Return whether values are exactly one chunk, with nothing but the spare bytes behind them in `room`."""
    return bool(values.shape == data.chunks) and len(room) == values.nbytes + SPARE_BYTES


def write_chunk(data: h5py.Dataset, start: int, values: np.ndarray, *, room: np.ndarray) -> None:
    """Write values that fill one chunk where they lie: the checksum goes into the spare bytes behind them."""
    if start + len(values) > len(data):
        data.resize(start + len(values), axis=0)
    room[values.nbytes :].view("<u4")[0] = fletcher32(room[: values.nbytes])
    data.id.write_direct_chunk((start, *(0 for _ in values.shape[1:])), room)


def bare_scale(group: h5py.Group, axis: str, length: int) -> h5py.Dataset:
    """Create a dimension that has a length but no values, as netCDF tools expect it."""
    scale = group.create_dataset(axis, shape=(length,), dtype=np.float32)  # never written: takes no room
    scale.make_scale(f"This is a netCDF dimension but not a netCDF variable.{length:10d}")
    return scale


def write_whole(group: h5py.Group, name: str, column: Column) -> h5py.Dataset:
    """Write a data set whose rows are all at hand."""
    chunk = chunk_shape(column.values.shape, column.values.dtype.itemsize)
    data = create(group, name, column, chunk=chunk, rows=len(column.values))
    if 0 < column.values.nbytes <= _SMALL_BYTES:
        data.id.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ascontiguousarray(column.values))
    else:
        write_rows(data, 0, column.values)
    return data
