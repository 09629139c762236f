"""Freed memory goes back to the system between the phases of a run.

glibc keeps what a phase has freed for the next one, which needs blocks of other sizes: after features are
made or images are scored, hundreds of megabytes stay with the process for nothing.
"""

import ctypes
import sys
from time import monotonic

PAUSE_SECONDS = 0.2  # between two times inside a phase: each costs some tens of milliseconds


def give_back() -> None:
    """Return free pages of the heap to the system; another C library than glibc is left as it is."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


class Heap:
    """Gives back inside a phase: between tensors that stay for the backward pass lies free room."""

    def __init__(self) -> None:
        """Start the clock."""
        self._last = monotonic()

    def tidy(self) -> None:
        """Return free pages, unless that was done just before."""
        if monotonic() - self._last >= PAUSE_SECONDS:
            give_back()
            self._last = monotonic()
