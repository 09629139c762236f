"""Consolidation of a folder of segments into one recording.h5, which netCDF tools also read.

Atomic: until the rename the segments are the recording, from then on the file is.
Source: docs/recording.md, "Packing".
"""

from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np

from mechlab.errors import MechlabError
from mechlab.files import lock
from mechlab.recording.chunk import bare_scale, chunk_shape, create, write_rows, write_whole
from mechlab.recording.description import put_description
from mechlab.recording.folder import check_digests, survey
from mechlab.recording.format import FORMAT, PACKED, START_LOCK, VALUES, VERSION, put_json, put_text, stored
from mechlab.recording.items import write_items
from mechlab.recording.manifest import MANIFEST, Log
from mechlab.recording.not_finite import count_not_finite, put_not_finite, warn
from mechlab.recording.quantity import Quantity
from mechlab.recording.reader import Recording
from mechlab.recording.segment import LIBVER, rank_and_number, site_group, sync, writing

_CHUNK_BYTES = 1024**2  # smaller than in segments: a reader asks for a few rows
_COPY_BYTES = 8 * 1024**2


def pack(folder: Path) -> Path:
    """Write recording.h5 from the segments, remove them, and return its path; a packed folder stays as it is.

    Refused while a writer of any rank is at work. On a fault the segments stay and nothing else is left.
    """
    if not folder.is_dir():
        raise MechlabError(f"'{folder}' is no folder; give the folder of a recording.")
    target = folder / PACKED
    with ExitStack() as held:
        for path in sorted(folder.glob("writer-r*.lock")):
            held.enter_context(lock(path, wait=False, what="recording"))
        if not target.exists():
            log = survey(folder)
            check_digests(folder, log)
            _consolidate(folder, log, target=target)
        remove_segments(folder)
    return target


def lock_name(rank: int) -> str:
    """Return the name of the lock file of a rank's writer."""
    return f"writer-r{rank}.lock"


def remove_segments(folder: Path) -> None:
    """Remove what a packed file replaces: segments, temporary files, manifest, locks."""
    for path in folder.iterdir():
        is_segment = rank_and_number(path.name.removeprefix(".").removesuffix(".part")) is not None
        if is_segment or path.name == f".{PACKED}.part":
            path.unlink()
    for name in (MANIFEST, START_LOCK):
        (folder / name).unlink(missing_ok=True)
    for path in folder.glob("writer-r*.lock"):
        path.unlink()


def _consolidate(folder: Path, log: Log, *, target: Path) -> None:
    part = folder / f".{PACKED}.part"
    try:
        with writing(target), Recording(folder, log=log) as recording:
            with h5py.File(part, "w", libver=LIBVER) as file:
                _write_root(file, log)
                write_items(file, recording.items)
                lost = {key: _copy(file, recording[key]) for key in recording}
            sync(part)
            part.rename(target)
            sync(folder)
            warn(lost)
    finally:
        part.unlink(missing_ok=True)


def _write_root(file: h5py.File, log: Log) -> None:
    put_text(file, "format", FORMAT)
    file.attrs["version"] = VERSION
    put_text(file, "run_id", log.attributes["run_id"])
    for name in ("spec", "provenance", "facts"):
        put_json(file, name, log.attributes[name])
    put_json(file, "statistics", log.statistics)
    segments = [
        {name: getattr(segment, name) for name in ("rank", "number", "rows", "items", "steps", "bytes")}
        for segment in log.segments
    ]
    put_json(file, "segments", segments)


def _copy(file: h5py.File, quantity: Quantity) -> int:
    """Copy a key; return the number of its values that plain float16 could not hold."""
    group = site_group(file, quantity.key)
    data, lost = _copy_values(group, quantity)
    scale = None
    for name, values in quantity.coordinates.items():
        copy = write_whole(group, name, stored(values))
        if name == quantity.axes[0]:
            scale = copy
    _attach_scales(group, data, axes=quantity.axes, first=scale)
    put_description(data, quantity.description)
    if lost is not None:
        put_not_finite(data, lost)
    return lost or 0


def _copy_values(group: h5py.Group, quantity: Quantity) -> tuple[h5py.Dataset, int | None]:
    """Copy the values; count those that are not finite in float16 unless they have counts of their own."""
    if quantity.dtype.kind == "U":  # its length in bytes is known only when all of it is read
        return write_whole(group, VALUES, stored(quantity.read())), None
    is_counted = quantity.dtype == np.float16 and "overflow" not in quantity.coordinates
    chunk = chunk_shape(quantity.shape, quantity.dtype.itemsize, limit=_CHUNK_BYTES)
    like = stored(np.empty((0, *quantity.shape[1:]), quantity.dtype))
    data = create(group, VALUES, like, chunk=chunk, rows=len(quantity))
    chunk_bytes = chunk[0] * max(1, quantity.nbytes // len(quantity))
    rows = chunk[0] * max(1, _COPY_BYTES // chunk_bytes)
    lost = 0
    for place, values in quantity.chunks(rows):
        write_rows(data, place.start, stored(values).values)
        lost += count_not_finite(values) if is_counted else 0
    return data, lost if is_counted else None


def _attach_scales(
    group: h5py.Group, data: h5py.Dataset, *, axes: tuple[str, ...], first: h5py.Dataset | None
) -> None:
    """Name the axes by dimension scales: the coordinate of the same name, or a bare length."""
    for index, (axis, length) in enumerate(zip(axes, data.shape, strict=True)):
        if index == 0 and first is not None:
            scale = first
            scale.make_scale(axis)
        else:
            scale = bare_scale(group, axis, length)
        data.dims[index].attach_scale(scale)
        if index == 0:
            for name in group:
                if name != VALUES and group[name].shape == (length,) and name not in axes:
                    group[name].dims[0].attach_scale(scale)
