"""Logs whose lines have words: candump's format, and the labelled text of HCRL's attack-free recording.

candump -l (can-utils): `(1436509052.249713) vcan0 044#2A366C2BBA`, three digits for a standard id, eight for
an extended one, `#R` for a remote frame. HCRL Car-Hacking, normal_run_data.txt: `Timestamp: 1479121434.850202
ID: 0350 000 DLC: 8 05 28 84 66 6d 00 00 a2`. Neither has labels.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reproductions.can_ids.candump import plain_candump
from reproductions.can_ids.log import PAYLOAD, Log, Piece, bus_id, refused, whole
from reproductions.can_ids.text import BLOCK_BYTES, Block, blocks

_CANDUMP = re.compile(rb"\((\d+(?:\.\d+)?)\)\s+\S+\s+([0-9A-Fa-f]+)#(\S*)(?:\s+[RT])?\s*")
_LABELLED = re.compile(
    rb"Timestamp:\s*(\d+(?:\.\d+)?)\s+ID:\s*([0-9A-Fa-f]+)\s+\d+\s+DLC:\s*(\d+)((?:\s+[0-9A-Fa-f]{2})*)\s*"
)
_ERROR_FRAME = 1 << 29  # of the kernel's id, beside 29 bits of number


class Frame(NamedTuple):
    """One message."""

    time: float  # seconds
    id: int
    payload: bytes


def read_candump(path: Path, *, block: int = BLOCK_BYTES) -> Log:
    """Read a candump log.

    Raises:
        MechlabError: an empty file, or a line that is no classic CAN message, told by its number.
    """
    return _read(path, _candump, block=block, together=plain_candump)


def read_labelled(path: Path, *, block: int = BLOCK_BYTES) -> Log:
    """Read the labelled text of HCRL's attack-free recording; refused as `read_candump` refuses."""
    return _read(path, _labelled, block=block)


def log_of(frames: list[Frame]) -> Log:
    """Return messages as a log without labels."""
    filled = b"".join(frame.payload.ljust(PAYLOAD, b"\0") for frame in frames)
    return Log(
        time=np.array([frame.time for frame in frames], dtype=np.float64),
        ids=np.array([frame.id for frame in frames], dtype=np.uint32),
        payload=np.frombuffer(filled, dtype=np.uint8).reshape(-1, PAYLOAD),
        length=np.array([len(frame.payload) for frame in frames], dtype=np.uint8),
        attack=None,
    )


def _read(
    path: Path,
    parse: Callable[[bytes], Frame],
    *,
    block: int,
    together: Callable[[Block], Log | None] = lambda found: None,
) -> Log:
    """Read blocks of lines, `together` where it can and one by one with `parse` where it cannot."""
    pieces = []
    for found in blocks(path, size=block):
        log = together(found)
        pieces.append(
            Piece(log=_one_by_one(found, parse, str(path)) if log is None else log, rows=found.rows)
        )
    return whole(pieces, where=str(path))


def _one_by_one(block: Block, parse: Callable[[bytes], Frame], where: str) -> Log:
    frames = []
    for line, row in zip(block.lines(), block.rows.tolist(), strict=True):
        try:
            frames.append(parse(line))
        except ValueError as fault:
            raise refused(where, row, str(fault)) from fault
    return log_of(frames)


def _candump(line: bytes) -> Frame:
    """Return the message of one line; ValueError says what it is not."""
    found = _CANDUMP.fullmatch(line)
    if found is None:
        raise ValueError("this is not '(seconds) interface id#bytes' with a hexadecimal id")
    time, name, data = found.groups()
    if data.startswith(b"#"):
        raise ValueError("a CAN FD frame, of which only classic CAN is read")
    number, is_extended = int(name, 16), len(name) > 3
    if is_extended and number & _ERROR_FRAME:
        raise ValueError("an error frame, which is no message")
    payload = b"" if data.startswith(b"R") else _payload(data)
    return Frame(float(time), bus_id(number, is_extended=is_extended), payload)


def _labelled(line: bytes) -> Frame:
    found = _LABELLED.fullmatch(line)
    if found is None:
        raise ValueError("this is not 'Timestamp: seconds ID: id 000 DLC: n' and n bytes")
    time, name, length, data = found.groups()
    payload = _payload(b"".join(data.split()))
    if len(payload) != int(length):
        raise ValueError(f"{len(payload)} bytes, but the DLC is {int(length)}")
    number = int(name, 16)
    return Frame(float(time), bus_id(number, is_extended=number >= 1 << 11), payload)


def _payload(digits: bytes) -> bytes:
    try:
        payload = bytes.fromhex(digits.decode("ascii"))
    except ValueError as fault:
        raise ValueError("the payload is no row of bytes of two hexadecimal digits") from fault
    if len(payload) > PAYLOAD:
        raise ValueError(f"{len(payload)} bytes, but classic CAN has at most {PAYLOAD}")
    return payload


def kind_of(line: bytes) -> Callable[[Path], Log] | None:
    """Return what reads a file with this first line, or None if neither form does."""
    if line.lstrip().startswith(b"("):
        return read_candump
    return read_labelled if line.lstrip().startswith(b"Timestamp:") else None
