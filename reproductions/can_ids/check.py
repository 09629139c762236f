"""What is in a folder of logs, and what is wrong with it? Every problem of every log, none stops the next."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mechlab.errors import MechlabError
from reproductions.can_ids.folder import EXCLUDED, NO_ATTACK, LogFile, open, source_of
from reproductions.can_ids.log import PAYLOAD, Log
from reproductions.can_ids.reading import read


def check(paths: Sequence[Path], *, exclude: Sequence[str] = EXCLUDED) -> dict[str, Any]:
    """Return `{logs, left_out, problems}` of some log files, or of one folder in the layout of `folder`.

    A log has `messages, seconds, rate` (messages a second), `ids` (distinct), `short` (messages of fewer than
    8 bytes), `attacks` (messages labelled as attacks, None without labels) and `problem`, a sentence or None.

    Raises:
        MechlabError: no path, one that does not exist, a folder among several paths, or a folder without a
            training log.
    """
    if missing := [path for path in paths if not path.exists()]:
        raise MechlabError(f"'{missing[0]}' does not exist; give one folder of logs, or log files.")
    if len(paths) == 1 and not paths[0].is_file():
        folder = open(paths[0], exclude=exclude)
        files, left_out = folder.files, folder.left_out
    else:
        folders = [path for path in paths if path.is_dir()]
        if folders or not paths:
            given = f"folder '{folders[0]}' stands beside other paths" if folders else "no path was given"
            raise MechlabError(f"{given}; give one folder of logs, or log files.")
        files, left_out = tuple(LogFile(path=path, source=source_of(path.stem)) for path in paths), ()
    seen: dict[str, LogFile] = {}
    rows = [_row(file, seen) for file in files]
    return {
        "logs": rows,
        "left_out": [str(path) for path in left_out],
        "problems": [row["problem"] for row in rows if row["problem"]],
    }


def _row(file: LogFile, seen: dict[str, LogFile]) -> dict[str, Any]:
    about = {
        "log": file.source.name, "part": file.source.part, "attack": file.source.attack,
        "vehicle": file.source.vehicle,
    }  # fmt: skip
    try:
        log = read(file.path)
    except MechlabError as fault:
        empty = dict.fromkeys(("messages", "seconds", "rate", "ids", "short", "attacks"))
        return about | empty | {"problem": str(fault)}
    seconds = float(log.time[-1] - log.time[0])
    first = seen.setdefault(log.digest, file)
    return about | {
        "messages": len(log),
        "seconds": seconds,
        "rate": (len(log) - 1) / seconds if seconds else None,
        "ids": len(set(log.ids.tolist())),
        "short": int((log.length < PAYLOAD).sum()),
        "attacks": None if log.attack is None else int(log.attack.sum()),
        "problem": _problem(file, log, first),
    }


def _problem(file: LogFile, log: Log, first: LogFile) -> str | None:
    """Return what is wrong with a log that can be read."""
    is_free, attacks = file.source.attack == NO_ATTACK, log.attack
    if first is not file:
        is_leak = first.source.part[:5] != file.source.part[:5]
        role = "one for training and one for the test: remove one" if is_leak else "it counts once"
        return f"'{file.path}' holds the same messages as '{first.path}'; {role}."
    if is_free and attacks is not None and attacks.any():
        count = int(attacks.sum())
        return f"'{file.path}' is attack-free by its name, but {count} messages are labelled as attacks."
    if is_free or not file.source.part:  # the name of a log outside a folder promises nothing
        return None
    if attacks is not None and not attacks.any():
        return f"'{file.path}' is named for an attack, but none of its messages is labelled as one."
    if attacks is None:
        return f"'{file.path}' is named for an attack, but its format has no labels."
    return None
