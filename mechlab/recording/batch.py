"""Rows of one key on their way from the caller to a segment."""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mechlab.recording.format import Column
from mechlab.recording.rooms import Rooms


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows of one key with what describes them; rows are the first axis."""

    key: str
    values: Column
    axes: tuple[str, ...]
    coordinates: dict[str, Column]
    unit: str
    attributes: dict[str, Any]
    nbytes: int
    room: np.ndarray | None = None  # the lent buffer that the values lie in
    rooms: Rooms | None = None  # where it goes when the values are written
    born: float = field(default_factory=time.monotonic)  # seconds

    def release(self) -> None:
        """Give the lent buffer back: the values are written, or given up."""
        if self.room is not None and self.rooms is not None:
            self.rooms.give_back(self.room)
