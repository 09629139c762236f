"""How a writer begins: a new recording, another rank of one, or the continuation of one.

Source: docs/recording.md, "Resuming" and "Ranks".
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mechlab.errors import MechlabError
from mechlab.files import canonical_json, lock
from mechlab.recording.folder import enter_orphans, remove_unused, survey
from mechlab.recording.form import Form, form_of
from mechlab.recording.format import PACKED, START_LOCK
from mechlab.recording.items import read_items
from mechlab.recording.manifest import MANIFEST, Log, append_line, create_manifest, mend_manifest
from mechlab.recording.opened import opened
from mechlab.recording.pack import lock_name
from mechlab.recording.reader import Recording
from mechlab.recording.reader import open as open_recording
from mechlab.recording.segment import sync, writing
from mechlab.recording.unpack import unpack
from mechlab.specs import Item


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a writer begins."""

    folder: Path
    rank: int
    run_id: str
    number: int  # of the next segment
    position: int  # committed segments that are alive
    forms: dict[str, Form] = field(default_factory=dict)
    items: tuple[Item, ...] = ()


@contextmanager
def locked(folder: Path, rank: int) -> Iterator[ExitStack]:
    """Hold the lock of a rank's writer; the caller keeps it with `pop_all`."""
    with writing(folder), ExitStack() as locks:
        locks.enter_context(lock(folder / lock_name(rank), wait=False, what="recording"))
        yield locks


def check_free(folder: Path) -> None:
    """Refuse a folder whose recording is complete."""
    if (folder / PACKED).exists():
        raise _taken(folder)


def created(folder: Path, *, attributes: dict[str, Any], rank: int) -> Start:
    """Begin a recording, or join one as another rank. The caller holds the rank's lock."""
    head = _head(attributes)
    check_free(folder)
    with writing(folder), lock(folder / START_LOCK):
        if not (folder / MANIFEST).exists():
            create_manifest(folder, head)
            sync(folder.parent)
        log = survey(folder)
    if rank in log.last:
        raise _taken(folder)
    _check_same(folder, log.attributes, head)
    remove_unused(folder, rank)
    return Start(folder=folder, rank=rank, run_id=head["run_id"], number=0, position=0)


def resumed(folder: Path, *, position: int, rank: int, attributes: dict[str, Any] | None) -> Start:
    """Go on after the first `position` segments of a rank; later ones are dropped. The rank is locked."""
    if (
        attributes is not None
        and position == 0
        and not any((folder / name).exists() for name in (PACKED, MANIFEST))
    ):
        return created(folder, attributes=attributes, rank=rank)
    if attributes is not None:
        with open_recording(folder) as recording:
            _check_same(folder, recording.attributes, _head(attributes))
    if (folder / PACKED).exists():
        unpack(folder, position=position)
    with writing(folder):
        log = _rewound(folder, position=position, rank=rank)
    alive = tuple(segment for segment in log.segments if segment.rank == rank)
    with Recording(folder, log=replace(log, segments=alive)) as recording:
        forms = {key: form_of(recording[key]) for key in recording}
    items: list[Item] = []
    for segment in alive:
        if segment.items:
            with opened(folder / segment.name) as file:
                items.extend(read_items(file))
    return Start(
        folder=folder,
        rank=rank,
        run_id=str(log.attributes["run_id"]),
        number=log.last.get(rank, -1) + 1,
        position=len(alive),
        forms=forms,
        items=tuple(items),
    )


def _rewound(folder: Path, *, position: int, rank: int) -> Log:
    mend_manifest(folder)
    enter_orphans(folder, rank)
    count = sum(segment.rank == rank for segment in survey(folder).segments)
    if not 0 <= position <= count:
        raise MechlabError(
            f"'{folder}' has {count} segments of rank {rank} but the checkpoint says {position}; "
            "resume from an earlier checkpoint or record into a new folder."
        )
    if position < count:
        append_line(folder, "rewind", {"rank": rank, "position": position})
    remove_unused(folder, rank)
    return survey(folder)


def _head(attributes: dict[str, Any]) -> dict[str, Any]:
    """Sort the caller's attributes into what the format names and other facts."""
    plain = json.loads(canonical_json(attributes))
    named = {
        "run_id": str(plain.pop("run_id", "")),
        "spec": plain.pop("spec", None),
        "provenance": plain.pop("provenance", {}),
    }
    return named | {"facts": plain}


def _check_same(folder: Path, recorded: dict[str, Any], head: dict[str, Any]) -> None:
    for name in ("run_id", "spec"):
        if recorded[name] != head[name]:
            raise MechlabError(
                f"'{folder}' holds a recording with another {name}; choose a new folder or remove this one."
            )


def _taken(folder: Path) -> MechlabError:
    return MechlabError(
        f"'{folder}' already holds a recording; record into a new folder, resume this one, or remove it."
    )
