"""How soon one site of one step of a 5 GB recording is read, from a disk that has it in no cache.

Imports are done and the page cache of the file is dropped before each try, in a process of its own.
Source: issue of the recorder.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from benchmarks.measure import Measurement, median_interval
from benchmarks.recorder_memory import resident
from mechlab import recording
from mechlab.recording.writer import Writer

GIGABYTES, TRIES = 5.0, 9
SITES, ROWS, WIDTH = 16, 256, 1024  # half a megabyte a site and step, in fp16
OPEN_MS, GROWTH_MB = 50.0, 100.0


def measure() -> Iterator[Measurement]:
    """Yield milliseconds to open and read, and the growth of the resident set."""
    with tempfile.TemporaryDirectory(prefix="mechlab-") as name:
        path = written(Path(name) / "recording", gigabytes=GIGABYTES)
        size = path.stat().st_size / 1e9
        tries = [tried(path, number) for number in range(TRIES)]
    against = f"a packed recording of {size:.1f} GB, cold"
    for label, unit, target in (("ms", "ms", OPEN_MS), ("MB", "MB", GROWTH_MB)):
        values = [one[label] for one in tries]
        yield Measurement(
            name="recording-open" if label == "ms" else "recording-open-memory",
            value=median(values),
            unit=unit,  # type: ignore[arg-type]
            against=against,
            target=target,
            n=len(values),
            interval=median_interval(values),
        )


def written(folder: Path, *, gigabytes: float) -> Path:
    """Write and pack a recording of many steps and sites; return its file."""
    steps = round(gigabytes * 1e9 / (SITES * ROWS * WIDTH * 2))
    values = np.random.default_rng(0).standard_normal((ROWS, WIDTH)).astype(np.float16)
    with Writer.create(folder, attributes={}) as writer:
        for step in range(steps):
            at = np.full(ROWS, step)
            for site in range(SITES):
                writer.append(f"activation/{site}", values, axes=("item", "dim"), unit="1",
                              coordinates={"step": at})  # fmt: skip
    return folder / "recording.h5"


def tried(path: Path, number: int) -> dict[str, float]:
    """Return one try of a process of its own."""
    command = [sys.executable, "-m", "benchmarks.recording_open", str(path), str(number)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def read(path: Path, number: int) -> dict[str, float]:
    """Drop the file from the page cache, open it, and read one site of one step."""
    handle = os.open(path, os.O_RDONLY)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)
    before, began = resident(), perf_counter()
    with recording.open(path) as found:
        quantity = found[f"activation/{number % SITES}"]
        step = len(quantity) // ROWS * (number + 1) // (TRIES + 2)
        values = quantity[step * ROWS : (step + 1) * ROWS]
    taken = perf_counter() - began
    assert values.shape == (ROWS, WIDTH)
    return {"ms": taken * 1000, "MB": max(0, resident() - before) / 1e6}


if __name__ == "__main__":
    print(json.dumps(read(Path(sys.argv[1]), int(sys.argv[2]))))
