"""The lines of a text file in blocks: a line is never cut, whatever the size of a block."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8

from reproductions.can_ids.fields import padded

BLOCK_BYTES = 8 * 1024**2
_NEWLINE, _RETURN, _MARK = 10, 13, b"\xef\xbb\xbf"  # the mark begins some UTF-8 files


class Block(NamedTuple):
    """Whole lines; empty ones are left out and counted."""

    text: UInt8[np.ndarray, " byte"]
    starts: Int64[np.ndarray, " line"]
    ends: Int64[np.ndarray, " line"]  # before the line's end, CR LF or LF
    rows: Int64[np.ndarray, " line"]  # number of the line in the file, from 1

    def after(self, lines: int) -> "Block":
        """Return the block without its first lines."""
        return Block(self.text, self.starts[lines:], self.ends[lines:], self.rows[lines:])

    def lines(self) -> list[bytes]:
        """Return the lines one by one."""
        text = self.text.tobytes()
        return [text[start:end] for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True)]

    def first(self) -> bytes:
        """Return the first line."""
        return self.text[self.starts[0] : self.ends[0]].tobytes()


def blocks(path: Path, *, size: int = BLOCK_BYTES) -> Iterator[Block]:
    """Yield the lines of a file in blocks of about `size` bytes, in order; none of an empty file."""
    rest, row = b"", 1
    with path.open("rb") as stream:
        while piece := stream.read(size):
            rest = rest + piece if rest else piece
            cut = rest.rfind(b"\n") + 1
            if cut:
                yield _block(rest[:cut], row)
                row += rest.count(b"\n", 0, cut)
                rest = rest[cut:]
    if rest:
        yield _block(rest + b"\n", row)


def _block(text: bytes, row: int) -> Block:
    if row == 1 and text.startswith(_MARK):
        text = text[len(_MARK) :]
    letters = padded(text)
    ends = np.flatnonzero(letters == _NEWLINE)
    starts = np.concatenate([[0], ends[:-1] + 1])
    rows = row + np.arange(ends.size)
    ends = ends - ((letters[np.maximum(ends - 1, 0)] == _RETURN) & (ends > starts))
    kept = ends > starts
    return Block(letters, starts[kept], ends[kept], rows[kept])
