"""Several devices from one command: one process a rank, followed, and ended together.

A rank that fails ends all of them, so nobody waits for a rank that is gone; a run is resumable at every
instant. A rank speaks in lines of JSON on its standard output, and ends when its standard input does: then
the process that started it is gone.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from mechlab.errors import MechlabError
from mechlab.files import write_bytes, write_json
from mechlab.runs.request import TrainRequest

Heard = SimpleQueue[tuple[int, bytes]]  # number of a rank and a line of it; an empty one is its end
STOP_SECONDS = 5.0  # after which a rank that does not end is killed


@dataclass(frozen=True, slots=True)
class Rank:
    """A rank's process, and the file that takes whatever else it prints."""

    process: subprocess.Popen[bytes]
    log: Path


def launch(request: TrainRequest, *, run: Path, spent: float, report: Callable[[str], None]) -> None:
    """Train a request on its devices; `spent` are the seconds that went before.

    Raises:
        MechlabError: a rank failed; all ranks have ended then.
    """
    with tempfile.TemporaryDirectory(prefix="mechlab-ranks-") as name:
        place = Path(name)
        write_json(place / "request.json", {"request": request.document(), "spent": spent})
        size = request.devices
        commands = [
            [sys.executable, "-m", "mechlab.train.rank", str(place), str(rank), str(size)]
            for rank in range(size)
        ]
        follow(commands, place=place, run=run, report=report)


def follow(
    commands: Sequence[Sequence[str]], *, place: Path, run: Path, report: Callable[[str], None]
) -> None:
    """Start one process a command and return when all have ended well.

    Raises:
        MechlabError: the sentence of the rank that failed, or how it ended; its log is kept in `run`.
    """
    threads = str(max(1, (os.cpu_count() or 1) // len(commands)))
    ranks: list[Rank] = []
    try:
        for number, command in enumerate(commands):
            environment = {"OMP_NUM_THREADS": threads} | os.environ | {"LOCAL_RANK": str(number)}
            ranks.append(_start(command, place / f"rank-{number}.log", environment))
        told, failed = _watched(ranks, report)
    finally:
        _stop(ranks)
    if told:
        raise MechlabError(told[0])
    if failed:
        raise _ended(failed, ranks, run)


def _start(command: Sequence[str], log: Path, environment: dict[str, str]) -> Rank:
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, env=environment
        )
    return Rank(process, log)


def _watched(ranks: Sequence[Rank], report: Callable[[str], None]) -> tuple[list[str], list[int]]:
    """Pass on what ranks say until all have ended; return sentences and ranks that failed, in order."""
    heard: Heard = SimpleQueue()
    for number, rank in enumerate(ranks):
        threading.Thread(target=_listen, args=(number, rank, heard), daemon=True).start()
    told: list[str] = []
    failed: list[int] = []
    running = set(range(len(ranks)))
    while running:
        number, line = heard.get()
        if line:
            word: dict[str, Any] = json.loads(line)
            report(word["report"]) if "report" in word else told.append(word["error"])
            continue
        running.remove(number)
        if ranks[number].process.wait() and not failed:
            failed = [number, *[other for other in sorted(running) if ranks[other].process.poll()]]
            for other in running:
                ranks[other].process.terminate()
    return told, failed


def _listen(number: int, rank: Rank, heard: Heard) -> None:
    assert rank.process.stdout is not None
    for line in rank.process.stdout:
        heard.put((number, line))
    heard.put((number, b""))


def _stop(ranks: Sequence[Rank]) -> None:
    for rank in ranks:
        rank.process.terminate()
    for rank in ranks:
        try:
            rank.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            rank.process.kill()
            rank.process.wait()
        for stream in (rank.process.stdin, rank.process.stdout):
            if stream is not None:
                stream.close()


def _ended(failed: Sequence[int], ranks: Sequence[Rank], run: Path) -> MechlabError:
    """Return the sentence for ranks that said none; one that was killed made the others fail."""
    number = next((number for number in failed if ranks[number].process.returncode < 0), failed[0])
    code, what = ranks[number].process.returncode, f"rank {number} of {len(ranks)}"
    text = ranks[number].log.read_bytes()
    kept = run / f"rank-{number}.log"
    write_bytes(kept, text)
    if code < 0:
        return MechlabError(
            f"{what} was ended by signal {-code} (9: most often too little memory); its log is '{kept}'. "
            "Give the same command again to go on from the last checkpoint."
        )
    lines = text.decode(errors="replace").strip().splitlines() or ["no message"]
    return MechlabError(f"{what} failed: {lines[-1]} (its log is '{kept}').")
