"""A measurement beside its reference: paired and interleaved in one run; the median and its interval.

Absolute times drift with the machine, so only ratios of neighbours are read. Source: numerics notes, first
lines.
"""

import ctypes
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from statistics import median
from time import perf_counter, process_time
from typing import Any, Literal

Unit = Literal["ratio", "ms", "s", "MB", "1/s"]
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of malloc.h
CLOCKS = {"wall": perf_counter, "processor": process_time}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One number: it holds if it is at most `target` (at least, for rates); without a target it is told only.

    A peer that is not there has no value and no interval, and n = 0.
    """

    name: str
    value: float | None
    unit: Unit
    against: str
    target: float | None
    n: int
    interval: tuple[float, float] | None

    @property
    def holds(self) -> bool | None:
        """Whether the target is reached; None where there is nothing to compare."""
        if self.value is None or self.target is None:
            return None
        return self.value >= self.target if self.unit == "1/s" else self.value <= self.target

    def document(self) -> dict[str, Any]:
        """Return the JSON document of the benchmark contract."""
        interval = None if self.interval is None else list(self.interval)
        return asdict(self) | {"interval": interval, "holds": self.holds}


def paired_ratios(
    reference: Callable[[], object], candidate: Callable[[], object], *, pairs: int
) -> dict[str, list[float]]:
    """Return candidate over reference by clock, in pairs of alternating order; both are warmed up."""
    reference()
    candidate()
    found: dict[str, list[float]] = {clock: [] for clock in CLOCKS}
    for number in range(pairs):
        first, second = (reference, candidate) if number % 2 == 0 else (candidate, reference)
        one, two = _seconds(first), _seconds(second)
        slow, plain = (two, one) if number % 2 == 0 else (one, two)
        for clock in CLOCKS:
            found[clock].append(slow[clock] / plain[clock])
    return found


def _seconds(work: Callable[[], object]) -> dict[str, float]:
    began = {name: clock() for name, clock in CLOCKS.items()}
    work()
    return {name: clock() - began[name] for name, clock in CLOCKS.items()}


def median_interval(values: Sequence[float], *, level: float = 0.9) -> tuple[float, float]:
    """Return the order statistics that hold the median with probability `level`, whatever the distribution.

    With too few values for that level, the smallest and the largest. ValueError for none.
    """
    if not values:
        raise ValueError("no values, no interval")
    ordered, n = sorted(values), len(values)
    cut = 0
    while 2 * cut < n - 1 and 1 - 2 * _binomial_tail(cut, n) >= level:
        cut += 1
    cut = max(0, cut - 1)
    return ordered[cut], ordered[n - 1 - cut]


def _binomial_tail(upto: int, n: int) -> float:
    """Return P(at most `upto` of n fair coins)."""
    return sum(math.comb(n, k) for k in range(upto + 1)) / 2**n


def absent(name: str, *, why: str) -> Measurement:
    """Return the row of a peer that is not there: absent, never beaten."""
    return Measurement(name=name, value=None, unit="ratio", against=why, target=None, n=0, interval=None)


def ratio(name: str, values: Sequence[float], *, against: str, target: float | None) -> Measurement:
    """Return the median of paired ratios as a measurement."""
    return Measurement(
        name=name,
        value=median(values),
        unit="ratio",
        against=against,
        target=target,
        n=len(values),
        interval=median_interval(values),
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread, so that what a second core does shows."""
    torch = import_module("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def keep_memory() -> None:
    """Let glibc keep what the process frees, from now on: pages that are given back must be made again.

    How much it gives back hangs on where the last small block of the heap happens to lie: steps of one
    ResNet-18 met 1,000 to 26,000 new pages each, 2 to 41 of their 500 ms, with a recorder and without.
    Another C library is left as it is.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
