"""A program that records in processes which may be killed: each line of JSON on its input starts one.

The program itself never records, so a process is there within milliseconds. A process says on the output
what it has done; with `stop` it halts at an instant of its `count`-th commit, so that a kill hits exactly
that instant: "sync" (data written, not fsynced), "rename" (fsynced, not renamed), "folder" (renamed, the
name not durable), "line" (the manifest's line written, not fsynced).
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mechlab.recording import Writer

HEAD = {"run_id": "r", "spec": None}
KEYS = (("latent/a", 2000), ("latent/b", 5))


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())  # one write: lines of processes never mix


def halt_at(instant: str, *, count: int) -> None:
    """Stop for good when a commit reaches an instant."""
    seen = 0

    def reached(name: str) -> None:
        nonlocal seen
        seen += name == instant
        if name == instant and seen == count:
            say("at", instant)
            time.sleep(600)

    rename, replace, fsync = os.rename, os.replace, os.fsync

    def renamed(source, target, **words):
        if str(source).endswith(".h5.part"):
            reached("rename")
        return (replace if words.pop("is_replace", False) else rename)(source, target, **words)

    def synced(handle):
        place = Path(f"/proc/self/fd/{handle}").readlink()
        kinds = {".part": "sync", ".jsonl": "line"}
        kind = "folder" if place.is_dir() else kinds.get(place.suffix)
        if kind is not None:
            reached(kind)
        fsync(handle)

    os.rename, os.fsync, os.fdatasync = renamed, synced, synced
    os.replace = lambda source, target, **words: renamed(source, target, is_replace=True, **words)


def write(order: dict) -> None:
    first = step = order["step"]
    rank, until = order.get("rank", 0), order.get("until")
    writer = Writer.resume(
        Path(order["folder"]),
        position=order["position"],
        attributes=HEAD,
        rank=rank,
        flush_seconds=order.get("flush_seconds", 0.04),
    )
    if order.get("stop"):
        halt_at(order["stop"], count=order.get("count", 1))
    say("begun", rank)
    while until is None or step < until:
        axes = {"step": np.full(3, step), "item": np.arange(3), "loss": np.array(["mean"] * 3)}
        for key, size in KEYS:
            values = np.full((3, size), step + 1000 * rank, np.float32)
            writer.append(key, values, axes=("item", "dim"), coordinates=axes, unit="1")
        if (step - first) % order.get("every", 20) == 0:
            writer.commit()
            say("committed", step, writer.position, writer.statistics.longest_uncommitted_seconds)
        time.sleep(order.get("pause", 0.0))
        step += 1
    writer.close(pack=order.get("pack", False))
    say("closed", rank)


def serve(work: Callable[[dict], None]) -> None:
    """Begin `work` in a process of its own for each line."""
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            say("process", os.getpid())
            try:
                work(json.loads(line))
            except BaseException as fault:
                say("fault", repr(fault))
            os._exit(0)
        os.waitpid(process, 0)
        say("gone", process)


if __name__ == "__main__":
    serve(write)
