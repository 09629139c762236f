"""Whether a long recording grows in memory: the slope of the resident set over 10,000 steps of a tiny model.

Measured in a process of its own, from step 500 on, by least squares. Source: issue of the recorder.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.measure import Measurement
from mechlab.instrument.recorder import Recorder
from mechlab.recording.writer import Writer

STEPS, WARM, EVERY = 10_000, 500, 25
TARGET = 5.0  # MB a thousand steps, which is 5 KB a step
ROWS, WIDTH = 256, 128


def measure() -> Iterator[Measurement]:
    """Yield the slope, with its interval from a fit of each half."""
    with tempfile.TemporaryDirectory(prefix="mechlab-") as folder:
        command = [sys.executable, "-m", "benchmarks.recorder_memory", folder]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    kept = [(step, size) for step, size in found["sizes"] if step >= WARM]
    half = len(kept) // 2
    halves = sorted(slope(part) for part in (kept[:half], kept[half:]))
    yield Measurement(
        name="recorder-memory",
        value=slope(kept),
        unit="MB",
        against=f"a thousand steps of {found['bytes'] / STEPS / 1e6:.2f} MB each; interval: the two halves",
        target=TARGET,
        n=len(kept),
        interval=(halves[0], halves[1]),
    )


def slope(sizes: list[tuple[int, int]]) -> float:
    """Return the growth in MB a thousand steps, by least squares."""
    steps, bytes_ = np.array(sizes, dtype=np.float64).T
    return float(np.polyfit(steps, bytes_, 1)[0]) * 1000 / 1e6


def run(folder: Path) -> dict[str, object]:
    """Record a tiny model and return the resident set every few steps."""
    torch.set_num_threads(1)
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
    inputs, sizes = torch.randn(ROWS, WIDTH), []
    plan = [
        {"site": "type:Linear", "quantity": "activation"},
        {"site": "*", "quantity": "gradient", "dtype": "float16"},
        {"site": "*", "quantity": "row_contribution", "reduction": "total"},
    ]
    writer = Writer.create(folder / "recording", attributes={})
    with Recorder(model, plan, writer) as recorder:
        for step in range(STEPS):
            with recorder.step(step):
                model.zero_grad()
                model(inputs).square().mean().backward()
            if step % EVERY == 0:
                sizes.append((step, resident()))
    writer.close(pack=False)
    return {"sizes": sizes, "bytes": recorder.statistics.bytes}


def resident() -> int:
    """Return the resident set in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]))))
