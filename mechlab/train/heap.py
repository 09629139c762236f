"""Freed memory goes back to the system between the phases of a run.

glibc keeps what a phase has freed for the next one, which needs blocks of other sizes: after features are
made or images are scored, hundreds of megabytes stay with the process for nothing.
"""

import ctypes
import sys


def give_back() -> None:
    """Return free pages of the heap to the system; another C library than glibc is left as it is."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
