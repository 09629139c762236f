"""What the tests of recordings share: no waiting for the disk, and recordings in processes that are killed.

That fsync is called has tests of its own; the processes do wait for the disk.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mechlab import recording

PROGRAM = Path(__file__).with_name("writer_process.py")
INSTANTS = ("sync", "rename", "folder", "line")


@pytest.fixture(autouse=True, scope="module")
def quick_disk() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


class Process:
    """A program like `writer_process.py`: one recording process at a time."""

    def __init__(self, program: Path = PROGRAM) -> None:
        self.said: list[list[str]] = []
        self.number = 0
        command = [sys.executable, str(program)]
        self.program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start(self, folder: Path, **order: object) -> None:
        """Begin to record; returns when the writer holds its lock."""
        self.order({"folder": str(folder), "position": 0, "step": 0} | order)
        self.until("begun")

    def order(self, order: dict[str, object]) -> None:
        """Start a process."""
        self.program.stdin.write(json.dumps(order) + "\n")
        self.program.stdin.flush()
        self.said = []
        self.number = int(self.until("process")[1])

    def until(self, *words: str) -> list[str]:
        """Read on to the next line that begins with one of some words."""
        while True:
            line = self.program.stdout.readline().split()
            assert line, "the program has died"
            assert line[0] != "fault" or "fault" in words, line
            self.said.append(line)
            if line[0] in words:
                return line

    def kill(self) -> None:
        """Kill the recording process at once."""
        os.kill(self.number, signal.SIGKILL)
        self.until("gone")

    @property
    def commits(self) -> list[tuple[int, int, float]]:
        """Step, position and longest uncommitted seconds of each commit that the process told of."""
        said = [line for line in self.said if line[0] == "committed"]
        return [(int(line[1]), int(line[2]), float(line[3])) for line in said]

    def close(self) -> None:
        self.program.stdin.close()
        """End the program, and the recording process if one is left."""
        if self.said and not any(line[0] == "gone" for line in self.said):
            os.kill(self.number, signal.SIGKILL)
        self.program.stdout.close()
        self.program.wait(20)


@pytest.fixture(scope="module")
def process() -> Iterator[Process]:
    running = Process()
    yield running
    running.close()


@pytest.fixture(scope="module")
def other_process() -> Iterator[Process]:
    running = Process()
    yield running
    running.close()


@pytest.fixture
def training() -> Iterator[Process]:
    running = Process(PROGRAM.with_name("training_process.py"))
    yield running
    running.close()


@pytest.fixture(scope="session")
def check_steps() -> Callable[..., int]:
    """Give the function that asserts each step to be there once, in order and whole; it returns the last."""
    return _last_step


@pytest.fixture
def survive(process) -> Callable[..., SimpleNamespace]:
    """Give the function that kills a recording again and again."""
    return partial(_survived, process)


def _last_step(folder: Path, *, at_least: int) -> int:
    with recording.open(folder) as found:
        found.verify()
        assert set(found.keys()) == {"latent/a", "latent/b"}
        for key in found:
            quantity = found[key]
            steps = quantity.coordinates["step"]
            assert steps.tolist() == np.repeat(np.arange(len(steps) // 3), 3).tolist(), (
                "each step once, in order"
            )
            assert steps[-1] >= at_least, "nothing that was committed is lost"
            assert (quantity.read() == steps[:, None]).all(), "no torn row"
            assert quantity.coordinates["item"].tolist() == [0, 1, 2] * (len(steps) // 3)
        return int(steps[-1])


def _survived(process: Process, folder: Path, *, kills: int, seed: int, **order: object) -> SimpleNamespace:
    """Kill a recording again and again, each time resumed where it was committed; return what was counted.

    Every other kill hits a commit between its data and its end; the rest fall where they may. After 20 kills
    the recording is packed and another one begins, since all of it is read after each kill.
    """
    dice = random.Random(seed)
    counted = SimpleNamespace(kills=0, inside=0, longest=0.0)
    position = step = 0
    for number in range(kills):
        instant = INSTANTS[number // 2 % len(INSTANTS)] if number % 2 == 0 else None
        asked = {"stop": instant, "count": dice.randint(2, 4), "every": 5}
        place = folder / str(number // 20)
        process.start(place, position=position, step=step, **(asked | order))
        process.until("at" if instant else "committed")
        if not instant:
            time.sleep(dice.uniform(0.0, 0.05))
        process.kill()
        if process.commits:
            step, position = process.commits[-1][0] + 1, process.commits[-1][1]
            counted.longest = max(counted.longest, process.commits[-1][2])
        _last_step(place, at_least=step - 1)
        counted.kills += 1
        counted.inside += instant is not None
        if counted.kills % 20 == 0 or counted.kills == kills:
            recording.pack(place)
            _last_step(place, at_least=step - 1)
            position = step = 0
            sys.stderr.write(f"{counted.kills} kills, {counted.inside} of them inside a commit\n")
    return counted
