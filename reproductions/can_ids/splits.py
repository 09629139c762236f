"""Which messages are trained on, validated on and judged? Logs are cut by time before any window is made.

So no window lies across a border, and nothing of a later split is in an earlier one. `published`: the last
fifth of each training log is for validation, and each test part is a group of its own (arXiv:2308.04972).
`time`: each log of a vehicle that the training parts know is cut into 60, 20 and 20 % of its seconds, so that
every attack that a known vehicle has is trained on; logs of other vehicles are for judging alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from mechlab.errors import MechlabError, unknown
from reproductions.can_ids.folder import NO_ATTACK, CanFolder, LogFile
from reproductions.can_ids.graph_set import Source
from reproductions.can_ids.log import Log
from reproductions.can_ids.vocabulary import Vocabulary

Name = Literal["train", "validation", "test"]
NAMES: tuple[Name, ...] = ("train", "validation", "test")
WAYS = ("published", "time")
PUBLISHED = (0.8, 0.2)  # shares of the seconds of a training log: train, validation
BY_TIME = (0.6, 0.2, 0.2)  # train, validation, test


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Neighbouring messages of one log that are for one purpose."""

    source: Source
    log: Log


def stretches(folder: CanFolder, logs: Sequence[Log], *, way: str) -> list[Stretch]:
    """Return the stretches of the logs of a folder, those for training first.

    A log that stands twice in the training parts (the same messages) counts once.

    Raises: MechlabError: an unknown way, the same log in a training and a test part, an attack-free log with
        attacks, or no training log at all.
    """
    if way not in WAYS:
        raise unknown("split of logs", way, WAYS)
    known = _distinct(list(zip(folder.files, logs, strict=True)))
    for file, log in known:
        _check_labels(file, log)
    found = _published(known) if way == "published" else _by_time(known)
    found = sorted(found, key=lambda one: NAMES.index(one.source.split))  # type: ignore[arg-type]
    return [one for one in found if len(one.log)]


def vocabulary_of(found: Iterable[Stretch]) -> Vocabulary:
    """Return the ids of the normal messages of training; ids that an attack alone sends stay unknown."""
    logs = [one.log for one in found if one.source.split == "train"]
    return Vocabulary.of(log.ids if log.attack is None else log.ids[~log.attack] for log in logs)


def cut(log: Log, shares: Sequence[float]) -> list[Log]:
    """Return the pieces of a log that have these shares of its seconds, in order."""
    borders = log.time[0] + np.cumsum([0.0, *shares[:-1]]) * (log.time[-1] - log.time[0])
    places = [*np.searchsorted(log.time, borders).tolist(), len(log)]
    return [log.cut(first, last) for first, last in pairwise(places)]


def _published(known: Sequence[tuple[LogFile, Log]]) -> list[Stretch]:
    found = []
    for file, log in known:
        if _is_training(file):
            found += _pieces(file, log, PUBLISHED, group="")
        else:
            source = replace(file.source, split="test", group=file.source.part)
            found.append(Stretch(source=source, log=log))
    return found


def _by_time(known: Sequence[tuple[LogFile, Log]]) -> list[Stretch]:
    vehicles = {file.source.vehicle for file, _ in known if _is_training(file)}
    attacks = {file.source.attack for file, _ in known if file.source.vehicle in vehicles}
    found = []
    for file, log in known:
        if file.source.vehicle in vehicles:
            found += _pieces(file, log, BY_TIME, group="known_vehicle_known_attack")
        else:
            attack = "known" if file.source.attack in attacks else "unknown"
            source = replace(file.source, split="test", group=f"unknown_vehicle_{attack}_attack")
            found.append(Stretch(source=source, log=log))
    return found


def _pieces(file: LogFile, log: Log, shares: Sequence[float], *, group: str) -> list[Stretch]:
    return [
        Stretch(source=replace(file.source, split=name, group=group if name == "test" else ""), log=piece)
        for name, piece in zip(NAMES, cut(log, shares), strict=False)
    ]


def _is_training(file: LogFile) -> bool:
    return file.source.part.startswith("train_")


def _distinct(known: Sequence[tuple[LogFile, Log]]) -> list[tuple[LogFile, Log]]:
    """Return each log once; the same messages in a training and a test part are a leak."""
    seen: dict[str, LogFile] = {}
    kept = []
    for file, log in known:
        first = seen.setdefault(log.digest, file)
        if _is_training(first) != _is_training(file):
            raise MechlabError(
                f"'{first.path}' and '{file.path}' hold the same messages, one for training and one for the "
                "test; remove one of them."
            )
        if first is file:
            kept.append((file, log))
    return kept


def _check_labels(file: LogFile, log: Log) -> None:
    if file.source.attack == NO_ATTACK and log.attack is not None and log.attack.any():
        raise MechlabError(
            f"'{file.path}' is attack-free by its name, but {int(log.attack.sum())} of its messages are "
            "labelled as attacks; give the log its right name, or its right labels."
        )
