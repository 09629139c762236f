"""One table for every format of CAN log: time, id, payload, length and, where the format has one, the label.

A log that a reader returns was checked: times are finite and never fall, ids and payloads are those of
classic CAN.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8, UInt32

from mechlab.errors import MechlabError
from mechlab.files import sha256_bytes

PAYLOAD = 8  # bytes of a classic CAN frame, at most
STANDARD_IDS, ALL_IDS = 1 << 11, 1 << 29  # numbers of 11 and of 29 bits
EXTENDED = 1 << 31  # marks an extended frame whose number a standard frame could have


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Messages in the order in which the bus carried them."""

    time: Float64[np.ndarray, " message"]  # seconds, since the epoch or since the recording began
    ids: UInt32[np.ndarray, " message"]
    payload: UInt8[np.ndarray, "message 8"]  # bytes beyond the length are 0
    length: UInt8[np.ndarray, " message"]  # DLC: bytes that the message carries
    attack: Bool[np.ndarray, " message"] | None  # None: the format has no labels

    def __len__(self) -> int:
        """Return the number of messages."""
        return self.time.size

    @property
    def digest(self) -> str:
        """SHA-256 of messages and labels: two files of the same messages share it, whatever their format."""
        parts = [self.time, self.ids, self.payload, self.length]
        parts += [] if self.attack is None else [self.attack]
        return sha256_bytes(b"".join(np.ascontiguousarray(part).tobytes() for part in parts))

    def cut(self, first: int, last: int) -> "Log":
        """Return the messages from `first` to before `last` as views."""
        return Log(
            time=self.time[first:last], ids=self.ids[first:last], payload=self.payload[first:last],
            length=self.length[first:last], attack=None if self.attack is None else self.attack[first:last],
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some messages as a reader found them, and where they stand in their file."""

    log: Log
    rows: Int64[np.ndarray, " message"]  # line or row of each message, from 1


def whole(pieces: Sequence[Piece], *, where: str, unit: str = "line") -> Log:
    """Return the log that pieces of one file make.

    Raises:
        MechlabError: no message, a time that is not finite, or one that is before the one before it.
    """
    if not sum(len(piece.log) for piece in pieces):
        raise MechlabError(f"'{where}' holds no message; give a log with at least one.")
    log, rows = _joined([piece.log for piece in pieces]), np.concatenate([piece.rows for piece in pieces])
    wrong = np.flatnonzero(~np.isfinite(log.time))
    if wrong.size:
        raise refused(where, int(rows[wrong[0]]), "the time is no finite number", unit=unit)
    falls = np.flatnonzero(np.diff(log.time) < 0) + 1
    if falls.size:
        at = int(falls[0])
        raise MechlabError(
            f"'{where}', {unit} {rows[at]}: time {log.time[at]:.6f} s is before the "
            f"{log.time[at - 1]:.6f} s of the message above it ({falls.size} such in the log); "
            "a log is in the order of time: sort it, or cut it where a recording began anew."
        )
    return log


def refused(where: str, row: int, what: str, *, unit: str = "line") -> MechlabError:
    """Return the sentence about one row of a log that cannot be read."""
    return MechlabError(f"'{where}', {unit} {row}: {what}; mend or remove the row.")


def bus_id(number: int, *, is_extended: bool) -> int:
    """Return the id of a frame: its number, marked where only the frame's kind tells two ids apart.

    Raises ValueError for a number that a frame of that kind cannot have.
    """
    if not 0 <= number < (ALL_IDS if is_extended else STANDARD_IDS):
        kind, bits = ("extended", 29) if is_extended else ("standard", 11)
        raise ValueError(f"id {number:X} does not fit the {bits} bits of a{'n' * is_extended} {kind} frame")
    return number | EXTENDED if is_extended and number < STANDARD_IDS else number


def _joined(logs: Sequence[Log]) -> Log:
    labels = [log.attack for log in logs if log.attack is not None]
    return Log(
        time=np.concatenate([log.time for log in logs]),
        ids=np.concatenate([log.ids for log in logs]),
        payload=np.concatenate([log.payload for log in logs]),
        length=np.concatenate([log.length for log in logs]),
        attack=np.concatenate(labels) if labels else None,
    )
