"""The folder of a recording that is not packed: manifest and segments read together.

A segment that was renamed but has no line yet (its writer was killed in between) is whole: it is adopted
when it follows the last number of its rank. Source: docs/recording.md, "After a crash".
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mechlab.errors import MechlabError
from mechlab.files import sha256_file
from mechlab.recording.manifest import Committed, Log, append_segment, read_manifest
from mechlab.recording.opened import damaged, opened
from mechlab.recording.segment import rank_and_number, read_contents, segment_name


def survey(folder: Path) -> Log:
    """Return what the folder holds: the live segments of the manifest and the adopted ones.

    Segments whose numbers were used before and have no live line were dropped by a rewind: they are ignored.
    """
    log = read_manifest(folder)
    for segment in log.segments:
        _check_presence(folder, segment)
    last = dict(log.last)
    adopted = []
    for rank, number in sorted(_numbers(folder)):
        if number <= last.get(rank, -1):
            continue
        if number != last.get(rank, -1) + 1:
            lacking = segment_name(rank, last.get(rank, -1) + 1)
            raise MechlabError(
                f"'{folder}' lacks {lacking} but holds {segment_name(rank, number)}; "
                "restore the missing segment from a copy or record again."
            )
        adopted.append(_adopted(folder, rank, number, str(log.attributes["run_id"])))
        last[rank] = number
    if adopted and not _names(log) <= _names(read_manifest(folder)):
        return survey(folder)  # a writer rewound between the two looks: what it dropped is not mixed in
    segments = sorted((*log.segments, *adopted), key=lambda segment: (segment.rank, segment.number))
    return replace(log, segments=tuple(segments), last=last)


def check_digests(folder: Path, log: Log) -> None:
    """Compare each segment with its SHA-256 in the manifest."""
    for segment in log.segments:
        path = folder / segment.name
        if segment.sha256 is not None and sha256_file(path) != segment.sha256:
            raise MechlabError(
                f"'{path}' does not match its SHA-256 in the manifest; restore a copy or record again."
            )


def enter_orphans(folder: Path, rank: int) -> None:
    """Give the adopted segments of a rank their lines; its writer does so before it goes on."""
    for segment in survey(folder).segments:
        if segment.rank == rank and segment.sha256 is None:
            path = folder / segment.name
            append_segment(folder, replace(segment, bytes=path.stat().st_size, sha256=sha256_file(path)))


def remove_unused(folder: Path, rank: int) -> None:
    """Remove temporary files and dropped segments of a rank. The caller holds the rank's lock."""
    alive = {segment.name for segment in survey(folder).segments}
    for path in folder.iterdir():
        name = path.name.removeprefix(".").removesuffix(".part")
        found = rank_and_number(name)
        if found and found[0] == rank and path.name not in alive:
            path.unlink()


def _names(log: Log) -> set[str]:
    return {segment.name for segment in log.segments}


def _numbers(folder: Path) -> Iterator[tuple[int, int]]:
    for path in folder.iterdir():
        found = rank_and_number(path.name)
        if found:
            yield found


def _check_presence(folder: Path, segment: Committed) -> None:
    path = folder / segment.name
    try:
        size = path.stat().st_size
    except FileNotFoundError as fault:
        raise MechlabError(
            f"'{path}' is missing although the manifest names it; if the recording was packed meanwhile, "
            "open it again, otherwise restore the segment from a copy."
        ) from fault
    if size != segment.bytes:
        raise MechlabError(
            f"'{path}' has {size} bytes instead of {segment.bytes}: it is truncated or was changed; "
            "restore it from a copy or record again."
        )


def _adopted(folder: Path, rank: int, number: int, run_id: str) -> Committed:
    path = folder / segment_name(rank, number)
    with opened(path) as file:
        try:
            claims = (int(file.attrs["rank"]), int(file.attrs["number"]), file.attrs["run_id"])
            contents = read_contents(file)
        except (KeyError, TypeError, ValueError, OSError) as fault:
            raise damaged(path, "its contents", fault) from fault
    if claims[:2] != (rank, number) or _text(claims[2]) != run_id:
        raise MechlabError(f"'{path}' belongs to another recording; remove it from this folder.")
    return Committed(rank=rank, number=number, rows=contents.rows, steps=contents.steps, items=contents.items)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
