"""Messages a second on one core, from the text of a CAN log to the graphs of its windows: read, check, make.

The log is made by program: 45 ids with their own periods, eight bytes a message, random ids in bursts;
written as can-train-and-test writes it (four columns), as HCRL writes it (a byte a column) and as candump
does. NumPy alone, one process, one thread. The disk is warm: the file was just written.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.measure import CLOCKS, Measurement, median_interval
from reproductions.can_ids.graph_set import Source
from reproductions.can_ids.reading import read
from reproductions.can_ids.vocabulary import Vocabulary
from reproductions.can_ids.windows import graphs_of

MESSAGES, IDS, REPEATS = 400_000, 45, 7
TARGET = 200_000.0  # messages a second
SOURCE = Source(name="made", part="train_02_with_attacks", attack="fuzzing", vehicle="")
FORMS = ("four-columns", "raw", "candump")


def measure() -> Iterator[Measurement]:
    """Yield the rate of each form of text, by the clock on the wall and by the processor's."""
    with tempfile.TemporaryDirectory() as folder:
        for form in FORMS:
            path = written(Path(folder), form, messages=MESSAGES)
            name = "can-preprocess" if form == FORMS[0] else f"can-preprocess-{form}"
            took = [seconds(path) for _ in range(REPEATS + 1)][1:]
            for clock in CLOCKS:
                suffix = "" if clock == "wall" else f"-{clock}"
                against = f"text of {MESSAGES:,} messages, {clock} clock"
                yield rate(f"{name}{suffix}", [each[clock] for each in took], against=against)


def rate(name: str, took: list[float], *, against: str) -> Measurement:
    """Return messages a second over repeats."""
    values = [MESSAGES / each for each in took]
    return Measurement(name=name, value=median(values), unit="1/s", against=against, target=TARGET,
                       n=len(values), interval=median_interval(values))  # fmt: skip


def seconds(path: Path) -> dict[str, float]:
    """Return the seconds from a file to its graphs, by clock."""
    began = {name: clock() for name, clock in CLOCKS.items()}
    log = read(path)
    graphs_of(log, SOURCE, vocabulary=Vocabulary.of([log.ids]))
    return {name: clock() - began[name] for name, clock in CLOCKS.items()}


def written(folder: Path, form: str, *, messages: int) -> Path:
    """Write a log in one form of text, and return its path."""
    rng = np.random.default_rng(0)
    ids = rng.choice(np.sort(rng.choice(0x800, IDS, replace=False)), messages, p=_shares())
    burst = (np.arange(messages) // 5000) % 4 == 3
    injected = burst & (rng.random(messages) < 0.3)
    ids = np.where(injected, rng.integers(0, 0x800, messages), ids).tolist()
    times = (1513468793.0 + np.cumsum(rng.exponential(0.0005, messages))).tolist()
    payload = rng.integers(0, 256, (messages, 8)).astype(np.uint8)
    lines = map(_LINES[form], times, ids, map(bytes, payload), injected.tolist())
    head = "timestamp,arbitration_id,data_field,attack\n" if form == FORMS[0] else ""
    path = folder / f"{form}.{'log' if form == 'candump' else 'csv'}"
    path.write_text(head + "".join(lines))
    return path


def _shares() -> np.ndarray:
    shares = 1.0 / (1 + np.arange(IDS) // 5)
    return shares / shares.sum()


_LINES = {
    "four-columns": lambda time, name, data, attack: (
        f"{time:.6f},{name:03X},{data.hex().upper()},{attack:d}\n"
    ),
    "raw": lambda time, name, data, attack: (
        f"{time:.6f},{name:04x},8,{','.join(f'{byte:02x}' for byte in data)},{'T' if attack else 'R'}\n"
    ),
    "candump": lambda time, name, data, _: f"({time:.6f}) can0 {name:03X}#{data.hex().upper()}\n",
}
