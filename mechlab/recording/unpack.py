"""The way back from a packed file to segments, for a run that goes on after it was packed.

A run can be killed after `pack` and before its last checkpoint; it then resumes at an earlier position.
Source: docs/recording.md, "Resuming".
"""

from collections.abc import Iterator
from pathlib import Path

from mechlab.errors import MechlabError
from mechlab.recording.batch import Batch
from mechlab.recording.format import PACKED, get_json, stored
from mechlab.recording.manifest import (
    Committed,
    append_line,
    append_segment,
    create_manifest,
    packed_segments,
)
from mechlab.recording.opened import opened
from mechlab.recording.quantity import reading
from mechlab.recording.reader import Recording
from mechlab.recording.segment import Segment, sync, writing


def unpack(folder: Path, *, position: int) -> None:
    """Replace recording.h5 by its first `position` segments. Killed half-way, it can be called again.

    Needs a recording of one rank; the caller holds the lock of rank 0.
    """
    path = folder / PACKED
    with opened(path) as file, reading(path, "the root attributes"):
        segments = packed_segments(get_json(file, "segments"))
    if any(segment.rank for segment in segments):
        raise MechlabError(
            f"'{path}' was packed from several ranks and cannot be resumed; record into a new folder."
        )
    if position > len(segments):
        raise MechlabError(
            f"'{folder}' has {len(segments)} segments but the checkpoint says {position}; "
            "resume from an earlier checkpoint or record into a new folder."
        )
    for leftover in folder.glob("*r0-*.h5*"):
        leftover.unlink()
    with Recording(path, log=None) as recording, writing(folder):
        attributes = recording.attributes
        head = {name: attributes[name] for name in ("run_id", "spec", "provenance")} | {
            "facts": recording.facts
        }
        create_manifest(folder, head)
        for place, batches in enumerate(_batches(recording, segments[:position])):
            number = segments[place].number
            segment = Segment(folder, rank=0, number=number, run_id=head["run_id"])
            first = sum(before.items for before in segments[:place])
            segment.add_items(list(recording.items[first : first + segments[place].items]))
            for batch in batches:
                segment.add(batch)
            append_segment(folder, _committed(segment, number))
        for dropped in segments[position:]:  # their numbers are never used again
            append_segment(folder, dropped)
        append_line(folder, "rewind", {"rank": 0, "position": position})
        if recording.statistics:
            append_line(folder, "statistics", {"statistics": recording.statistics})
    path.unlink()
    sync(folder)


def _committed(segment: Segment, number: int) -> Committed:
    contents, size, digest = segment.commit()
    return Committed(
        rank=0,
        number=number,
        rows=contents.rows,
        steps=contents.steps,
        items=contents.items,
        bytes=size,
        sha256=digest,
    )


def _batches(recording: Recording, segments: tuple[Committed, ...]) -> Iterator[Iterator[Batch]]:
    done: dict[str, int] = {}
    for segment in segments:
        yield _rows_of(recording, segment.rows, dict(done))
        for key, rows in segment.rows.items():
            done[key] = done.get(key, 0) + rows


def _rows_of(recording: Recording, counts: dict[str, int], done: dict[str, int]) -> Iterator[Batch]:
    for key, count in counts.items():
        quantity = recording[key]
        rows = slice(done.get(key, 0), done.get(key, 0) + count)
        values = stored(quantity[rows])
        coordinates = {name: stored(column[rows]) for name, column in quantity.coordinates.items()}
        yield Batch(
            key=key,
            values=values,
            axes=quantity.axes,
            coordinates=coordinates,
            unit=quantity.unit,
            attributes=quantity.attributes,
            nbytes=values.values.nbytes + sum(column.values.nbytes for column in coordinates.values()),
        )
