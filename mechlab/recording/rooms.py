"""Buffers that go round: lent to whoever fills them, handed over with rows, and lent again once written.

A fresh buffer of megabytes costs a page fault every 4 KiB, more than the copy into it; one that goes round
costs none. Source: numerics notes, "Recording overhead", point 1 of how to reach the limit.
"""

from collections import deque

import numpy as np

SPARE_BYTES = 4  # behind the rows, where a chunk's checksum stands


class Rooms:
    """Free buffers by size; the caller's thread takes, the writer's thread gives back."""

    def __init__(self, *, limit_bytes: int) -> None:
        """Keep at most `limit_bytes` of free buffers."""
        self._limit = limit_bytes
        self._free: dict[int, deque[np.ndarray]] = {}
        self._bytes = 0  # free ones; the two threads may miss a buffer's worth of each other's changes

    def lend(self, nbytes: int) -> np.ndarray:
        """Return a buffer of `nbytes` and the spare bytes, with whatever stood in it before."""
        free = self._free.get(nbytes)
        try:
            room = free.pop() if free else None
        except IndexError:  # taken meanwhile
            room = None
        if room is None:
            return np.empty(nbytes + SPARE_BYTES, dtype=np.uint8)
        self._bytes -= nbytes
        return room

    def give_back(self, room: np.ndarray) -> None:
        """Take a buffer back; beyond the limit it is let go."""
        nbytes = len(room) - SPARE_BYTES
        if self._bytes + nbytes > self._limit:
            return
        self._free.setdefault(nbytes, deque()).append(room)
        self._bytes += nbytes
