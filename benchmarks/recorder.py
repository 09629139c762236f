"""What recording everything costs: total time over plain training, and over a raw file with a thread.

Every step, every block's output and every gradient in fp16; 20 steps a session, then flush and fsync. The
three are interleaved, each with a model of its own that starts from the same parameters. Packing comes after
a run and is not in the total. Source: numerics notes, "Recording overhead".
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import perf_counter

from benchmarks.measure import Measurement, keep_memory, median_interval, one_thread, ratio
from benchmarks.raw_file import raw_file
from benchmarks.workloads import NAMES, Workload, workload
from mechlab.instrument.recorder import Recorder
from mechlab.recording.writer import Writer
from mechlab.specs import PlanEntry

PAIRS, STEPS = 15, 20
OF_PLAIN, OF_RAW, OF_RAW_UPPER = 1.08, 1.02, 1.04  # targets
Session = Callable[[Path], None]


def measure() -> Iterator[Measurement]:
    """Yield, for each model, total over plain, and over the raw file with the upper end of its interval."""
    keep_memory()
    with one_thread():
        for name in NAMES:
            yield from cost(name, pairs=PAIRS, steps=STEPS)


def cost(name: str, *, pairs: int, steps: int) -> Iterator[Measurement]:
    """Yield what a model's recording costs."""
    sessions = {
        "plain": plain(workload(name), steps=steps),
        "raw": raw(workload(name), steps=steps),
        "recorded": recorded(workload(name), steps=steps),
    }
    seconds = interleaved(sessions, rounds=pairs)
    to_plain = ratios(seconds, "recorded", "plain")
    to_raw = ratios(seconds, "recorded", "raw")
    label = f"recorder-{name}"
    yield ratio(label, to_plain, against="plain steps, with flush and fsync", target=OF_PLAIN)
    yield ratio(f"{label}-raw-file", ratios(seconds, "raw", "plain"), against="the raw file over plain steps",
                target=OF_PLAIN)  # fmt: skip
    yield ratio(f"{label}-to-raw-file", to_raw, against="a raw fp16 file with a thread", target=OF_RAW)
    interval = median_interval(to_raw)
    yield Measurement(
        name=f"{label}-to-raw-file-upper",
        value=interval[1],
        unit="ratio",
        against="the same: upper end of the 90 % interval",
        target=OF_RAW_UPPER,
        n=len(to_raw),
        interval=interval,
    )


def plain(work: Workload, *, steps: int) -> Session:
    """Return a session without a recorder."""

    def session(_: Path) -> None:
        for _number in range(steps):
            work.step()

    return session


def raw(work: Workload, *, steps: int) -> Session:
    """Return a session with the reference recorder."""

    def session(folder: Path) -> None:
        with raw_file(work.model, work.sites, folder / "raw"):
            for _number in range(steps):
                work.step()

    return session


def recorded(work: Workload, *, steps: int, plan: Sequence[PlanEntry] | None = None) -> Session:
    """Return a session with mechlab's recorder."""

    def session(folder: Path) -> None:
        with Writer.create(folder / "recording", attributes={}) as writer:
            with Recorder(work.model, plan or work.plan(), writer) as recorder:
                for number in range(steps):
                    with recorder.step(number):
                        work.step()
            writer.close(pack=False)

    return session


def interleaved(sessions: dict[str, Session], *, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each session in each round; the first takes turns, and one round is dropped."""
    seconds: dict[str, list[float]] = {name: [] for name in sessions}
    order = list(sessions)
    for number in range(rounds + 1):
        for name in order[number % len(order) :] + order[: number % len(order)]:
            folder = Path(tempfile.mkdtemp(prefix="mechlab-"))
            try:
                began = perf_counter()
                sessions[name](folder)
                taken = perf_counter() - began
            finally:
                shutil.rmtree(folder)
            if number:
                seconds[name].append(taken)
    return seconds


def ratios(seconds: dict[str, list[float]], one: str, other: str) -> list[float]:
    """Return the ratios of two sessions round by round."""
    return [first / second for first, second in zip(seconds[one], seconds[other], strict=True)]
