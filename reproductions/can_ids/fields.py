"""Numbers out of many text fields at once: decimal times, hexadecimal ids and payloads, one-letter flags.

A field is the bytes of a text from a start to before an end. Each function returns what it read and the first
field that it could not read, or none; the caller knows the line.
"""

import contextlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8, UInt32

PADDING = 64  # bytes behind the text, so that a look beyond its last field stays inside
_DECIMAL = 32  # letters of a time, at most
_WRONG = 255
_HEX = np.full(256, _WRONG, dtype=np.uint8)
_HEX[np.frombuffer(b"0123456789", dtype=np.uint8)] = np.arange(10)
_HEX[np.frombuffer(b"abcdef", dtype=np.uint8)] = np.arange(10, 16)
_HEX[np.frombuffer(b"ABCDEF", dtype=np.uint8)] = np.arange(10, 16)


class Fields(NamedTuple):
    """One field of each row."""

    text: UInt8[np.ndarray, " byte"]  # with PADDING behind it
    starts: Int64[np.ndarray, " row"]
    ends: Int64[np.ndarray, " row"]

    @property
    def sizes(self) -> Int64[np.ndarray, " row"]:
        """Letters of each field."""
        return self.ends - self.starts

    def letters(self, row: int) -> str:
        """Return one field as text for a sentence, at most 20 letters of it."""
        found = self.text[self.starts[row] : self.ends[row]].tobytes().decode("ascii", "replace")
        return found if len(found) <= 20 else f"{found[:20]}..."


def padded(text: bytes) -> UInt8[np.ndarray, " byte"]:
    """Return a text as numbers with PADDING behind it."""
    return np.frombuffer(text + bytes(PADDING), dtype=np.uint8)


def decimals(fields: Fields) -> tuple[Float64[np.ndarray, " row"], int | None]:
    """Return decimal numbers, rounded as Python's `float` rounds."""
    width = int(np.clip(fields.sizes.max(initial=1), 1, _DECIMAL))
    letters = _columns(fields, width)
    with contextlib.suppress(ValueError):
        if fields.sizes.max(initial=1) <= width:
            return letters.view(f"S{width}")[:, 0].astype(np.float64), None
    return np.zeros(fields.starts.size), _first(
        np.array([not _is_decimal(fields, row) for row in range(len(letters))])
    )


def hexadecimals(fields: Fields) -> tuple[UInt32[np.ndarray, " row"], int | None]:
    """Return numbers of 1 to 8 hexadecimal digits, with or without 0x before them."""
    second = fields.text[fields.starts + 1] | 32  # a capital X is one too
    marked = (fields.text[fields.starts] == ord("0")) & (second == ord("x")) & (fields.sizes > 2)
    starts = fields.starts + 2 * marked
    sizes = fields.ends - starts
    found, is_wrong = np.zeros(starts.size, dtype=np.uint32), (sizes < 1) | (sizes > 8)
    for place in range(int(min(sizes.max(initial=0), 8))):
        is_there = place < sizes
        digit = _HEX[fields.text[starts + place]]
        is_wrong |= is_there & (digit == _WRONG)
        found = np.where(is_there, found << 4 | digit, found)
    return found, _first(is_wrong)


def payloads(fields: Fields) -> tuple[UInt8[np.ndarray, "row 8"], UInt8[np.ndarray, " row"], int | None]:
    """Return the bytes of 0 to 16 hexadecimal digits, 0 behind them, and how many there are."""
    sizes = fields.sizes
    is_there = np.arange(16) < sizes[:, None]
    digits = _HEX[_columns(fields, 16)]
    is_wrong = (sizes % 2 == 1) | (sizes > 16) | ((digits == _WRONG) & is_there).any(axis=1)
    digits[~is_there] = 0
    lengths = np.minimum(sizes // 2, 8).astype(np.uint8)
    return digits[:, ::2] << 4 | digits[:, 1::2], lengths, _first(is_wrong)


def flags(fields: Fields, *, normal: str, attack: str) -> tuple[Bool[np.ndarray, " row"], int | None]:
    """Return whether fields of one letter say `attack`; any other than the two is wrong."""
    letter = fields.text[fields.starts]
    is_attack = letter == ord(attack)
    return is_attack, _first((fields.sizes != 1) | ~(is_attack | (letter == ord(normal))))


def _columns(fields: Fields, width: int) -> UInt8[np.ndarray, "row _"]:
    """Return the first letters of each field, 0 behind its end."""
    places = fields.starts[:, None] + np.arange(width)
    return np.where(places < fields.ends[:, None], fields.text[places], 0)


def _is_decimal(fields: Fields, row: int) -> bool:
    try:
        float(fields.text[fields.starts[row] : fields.ends[row]].tobytes())
    except ValueError:
        return False
    return bool(fields.sizes[row] <= _DECIMAL)


def _first(is_wrong: Bool[np.ndarray, " row"]) -> int | None:
    found = np.flatnonzero(is_wrong)
    return int(found[0]) if found.size else None
