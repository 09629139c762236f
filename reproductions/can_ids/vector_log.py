"""Logs of Vector's tools, asc and blf, through python-can. They have no labels.

Source: python-can's readers (`BLFReader`, `ASCReader`); asc counts from the start of the
measurement, blf from the epoch.
"""

from pathlib import Path
from typing import Any

import numpy as np

from mechlab.errors import MechlabError
from reproductions.can_ids.line_log import Frame, log_of
from reproductions.can_ids.log import Log, Piece, bus_id, refused, whole


def read_vector(path: Path) -> Log:
    """Read an asc or blf log; its messages are numbered from 1.

    Raises:
        MechlabError: python-can is absent, the file is empty, damaged or of another kind, or a frame is no
            message of classic CAN.
    """
    can, is_binary = _python_can(), path.suffix.lower() == ".blf"
    if not path.stat().st_size:
        raise MechlabError(f"'{path}' holds no message; give a log with at least one.")
    frames: list[Frame] = []
    try:
        with path.open("rb") if is_binary else path.open(encoding="ascii") as stream:
            for message in can.BLFReader(stream) if is_binary else can.ASCReader(stream):
                frames.append(_frame(message))
    except _NotClassic as fault:
        raise refused(str(path), len(frames) + 1, str(fault), unit="message") from fault
    except Exception as fault:  # its readers raise what the damage happens to cause
        raise MechlabError(
            f"'{path}' is no {path.suffix} log or is damaged after message {len(frames)} "
            f"({type(fault).__name__}: {fault}); export it again."
        ) from fault
    return whole(
        [Piece(log=log_of(frames), rows=np.arange(1, len(frames) + 1))], where=str(path), unit="message"
    )


class _NotClassic(ValueError):
    """A frame that the table has no room for."""


def _frame(message: Any) -> Frame:  # noqa: ANN401 - a can.Message
    if message.is_error_frame:
        raise _NotClassic("an error frame, which is no message")
    if message.is_fd:
        raise _NotClassic("a CAN FD frame, of which only classic CAN is read")
    number = bus_id(message.arbitration_id, is_extended=message.is_extended_id)
    return Frame(message.timestamp, number, bytes(message.data or b""))


def _python_can() -> Any:  # noqa: ANN401 - a package that may be absent
    try:
        import can
    except ModuleNotFoundError as fault:
        raise MechlabError(
            "reading asc and blf needs the package 'python-can', which is not installed; "
            "install it with: pip install -e '.[can]'."
        ) from fault
    return can
