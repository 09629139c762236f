"""How long does `mechlab --help` take as a whole process, and how long an empty Python beside it?"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.measure import Measurement, median_interval

RUNS = 9
TARGET_SECONDS = 0.5


def measure() -> Iterator[Measurement]:
    """Yield the seconds of the help page, interleaved with a Python that does nothing."""
    page = [str(Path(sys.executable).parent / "mechlab"), "--help"]
    empty = [sys.executable, "-c", "pass"]
    seconds: dict[str, list[float]] = {"page": [], "empty": []}
    for number in range(RUNS + 1):
        for name, command in (("page", page), ("empty", empty)):
            spent = _seconds(command)
            if number:  # the first is the warm-up
                seconds[name].append(spent)
    yield Measurement(
        name="help-page",
        value=median(seconds["page"]),
        unit="s",
        against=f"an empty Python takes {median(seconds['empty']):.3f} s",
        target=TARGET_SECONDS,
        n=RUNS,
        interval=median_interval(seconds["page"]),
    )


def _seconds(command: list[str]) -> float:
    began = perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return perf_counter() - began
