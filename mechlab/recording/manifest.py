"""The manifest: one checksummed line an event, only ever appended, and the segments that it leaves alive.

Kinds of lines: "recording" (first), "segment", "rewind", "facts", "statistics".
Source: docs/recording.md, "Manifest".
"""

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mechlab.errors import MechlabError
from mechlab.files import canonical_json, sha256_bytes, write_text
from mechlab.recording.format import FORMAT, VERSION, check_version
from mechlab.recording.segment import rank_and_number, segment_name, sync

MANIFEST = "manifest.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """One committed segment; size and digest are None until the manifest has a line for it."""

    rank: int
    number: int
    rows: dict[str, int]
    steps: tuple[int, int] | None
    items: int
    bytes: int | None = None
    sha256: str | None = None

    @property
    def name(self) -> str:
        """File name of the segment."""
        return segment_name(self.rank, self.number)

    def is_same(self, other: "Committed") -> bool:
        """Whether both are one commit; bytes and digest do not count, since unpacking writes files anew."""
        return (self.name, self.rows, self.steps, self.items) == (
            other.name,
            other.rows,
            other.steps,
            other.items,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What a manifest says."""

    attributes: dict[str, Any]  # run_id, spec, provenance, facts
    segments: tuple[Committed, ...]  # alive, in order of rank and number
    last: dict[int, int]  # greatest number that each rank has used, dropped ones included
    statistics: dict[str, float]  # over the writers that closed: sums, and the greatest of what is longest


def create_manifest(folder: Path, attributes: dict[str, Any]) -> None:
    """Write the first line, atomically."""
    head = {"kind": "recording", "format": FORMAT, "version": VERSION, "attributes": attributes}
    write_text(folder / MANIFEST, _line(head))
    sync(folder)


def append_line(folder: Path, kind: str, content: dict[str, Any]) -> None:
    """Append one line and fsync it; a torn end, which a killed writer left, is cut off first."""
    text = _line({"kind": kind} | content)
    with (folder / MANIFEST).open("r+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)  # ranks append one after the other
        end = stream.seek(-1, os.SEEK_END)
        if stream.read() != b"\n":
            stream.seek(0)
            end = stream.read().rfind(b"\n")
        stream.truncate(end + 1)
        stream.seek(end + 1)
        stream.write(text.encode())
        stream.flush()
        os.fsync(stream.fileno())


def mend_manifest(folder: Path) -> None:
    """Cut off a last line that does not match its checksum; a writer does so before it appends."""
    with (folder / MANIFEST).open("r+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        _, length = _parsed(stream.read(), folder)
        stream.truncate(length)


def append_segment(folder: Path, segment: Committed) -> None:
    """Append the line of a committed segment."""
    append_line(folder, "segment", {"name": segment.name} | asdict(segment))


def read_manifest(folder: Path) -> Log:
    """Read the manifest; a torn last line is ignored, any other damage is one sentence."""
    try:
        data = (folder / MANIFEST).read_bytes()
    except FileNotFoundError as fault:
        raise MechlabError(
            f"'{folder}' holds no recording: neither {MANIFEST} nor recording.h5 is there; "
            "give the path of a recording."
        ) from fault
    lines, _ = _parsed(data, folder)
    head, *events = lines
    _check_head(head, folder)
    try:
        return _replayed(head["attributes"], events)
    except (KeyError, TypeError, ValueError) as fault:
        raise _damaged(folder, f"a line of an unknown shape ({fault!r})") from fault


def packed_segments(documents: list[dict[str, Any]]) -> tuple[Committed, ...]:
    """Return the segments that a packed file names; where their numbers are absent they count from 0.

    Raises KeyError, TypeError or ValueError for any other form.
    """
    counted: dict[int, int] = {}
    found = []
    for document in documents:
        rank, steps = document["rank"], document["steps"]
        number = document.get("number", counted.get(rank, 0))
        counted[rank] = number + 1
        found.append(
            Committed(
                rank=rank,
                number=number,
                rows=dict(document["rows"]),
                steps=(steps[0], steps[1]) if steps else None,
                items=document["items"],
                bytes=document.get("bytes"),
            )
        )
    return tuple(found)


def _line(content: dict[str, Any]) -> str:
    check = sha256_bytes(canonical_json(content).encode())[:16]
    return canonical_json(content | {"check": check}) + "\n"


def _parsed(data: bytes, folder: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the lines and the length in bytes up to the end of the last whole one."""
    raw = data.split(b"\n")
    lines: list[dict[str, Any]] = []
    length = 0
    for index, text in enumerate(raw[:-1]):
        value = _checked(text)
        if value is None:
            if index == 0 or any(raw[index + 1 :]):
                raise _damaged(folder, f"line {index + 1} does not match its checksum")
            break
        lines.append(value)
        length += len(text) + 1
    if not lines:
        raise _damaged(folder, "the first line is torn")
    return lines, length


def _checked(text: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
        check = value.pop("check")
        whole = sha256_bytes(canonical_json(value).encode())[:16] == check
    except (ValueError, KeyError, AttributeError, TypeError):
        return None
    return dict(value) if whole else None


def _check_head(head: dict[str, Any], folder: Path) -> None:
    if head.get("kind") != "recording" or head.get("format") != FORMAT:
        raise _damaged(folder, "its first line does not begin a recording")
    check_version(head.get("version"), folder)


def _replayed(attributes: dict[str, Any], events: list[dict[str, Any]]) -> Log:
    alive: dict[int, list[Committed]] = {}
    last: dict[int, int] = {}
    statistics: dict[str, float] = {}
    facts = dict(attributes["facts"])
    for event in events:
        kind = event["kind"]
        if kind == "segment":
            segment = _segment(event)
            alive.setdefault(segment.rank, []).append(segment)
            last[segment.rank] = max(segment.number, last.get(segment.rank, -1))
        elif kind == "rewind":
            del alive.setdefault(event["rank"], [])[event["position"] :]
        elif kind == "facts":
            facts |= event["facts"]
        elif kind == "statistics":
            statistics |= _summed(statistics, event["statistics"])
        else:
            raise ValueError(kind)
    segments = tuple(segment for rank in sorted(alive) for segment in alive[rank])
    return Log(attributes=attributes | {"facts": facts}, segments=segments, last=last, statistics=statistics)


def _summed(before: dict[str, float], new: dict[str, float]) -> dict[str, float]:
    """Add up what several writers have cost; of what is called longest, the greatest counts."""
    return {
        name: max(before.get(name, 0), value) if name.startswith("longest_") else before.get(name, 0) + value
        for name, value in new.items()
    }


def _segment(event: dict[str, Any]) -> Committed:
    rank, number, steps = event["rank"], event["number"], event["steps"]
    if rank_and_number(event["name"]) != (rank, number):
        raise ValueError(event["name"])
    return Committed(
        rank=rank,
        number=number,
        rows=dict(event["rows"]),
        steps=(steps[0], steps[1]) if steps else None,
        items=event["items"],
        bytes=event["bytes"],
        sha256=event["sha256"],
    )


def _damaged(folder: Path, what: str) -> MechlabError:
    return MechlabError(f"'{folder / MANIFEST}' is damaged: {what}; restore it from a copy or record again.")
