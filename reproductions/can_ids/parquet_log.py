"""Logs as parquet, by column name: time, id, payload and label as the four columns of comma-separated logs.

Source of the names: can-train-and-test (arXiv:2308.04972) and tables made of it. The package pyarrow reads
the file; ids may be numbers or hexadecimal text, the payload is hexadecimal text.
"""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from mechlab.errors import MechlabError
from reproductions.can_ids.fields import PADDING, Fields, hexadecimals, payloads
from reproductions.can_ids.log import ALL_IDS, Log, Piece, refused, whole

NAMES = {
    "time": ("timestamp", "time"),
    "id": ("id", "arbitration_id", "can_id"),
    "payload": ("data_field", "data", "payload"),
    "label": ("label", "attack"),
}


def read_parquet(path: Path) -> Log:
    """Read a parquet log; rows are numbered from 1.

    Raises:
        MechlabError: pyarrow is absent, the file is damaged or lacks a column, a cell is empty or not what it
            should be.
    """
    table = _table(path)
    time, ids = _numbers(table["time"], str(path), "time").astype(np.float64), _ids(table["id"], str(path))
    data = _text(table["payload"], str(path), "payload")
    payload, length, wrong = payloads(data)
    if wrong is not None:
        what = f"payload '{data.letters(wrong)}' is not 0 to 8 bytes of two hexadecimal digits"
        raise _refused(path, wrong, what)
    label = _numbers(table["label"], str(path), "label")
    outside = np.flatnonzero((label != 0) & (label != 1))
    if outside.size:
        raise _refused(path, int(outside[0]), f"the label is {label[outside[0]]}, not 0 or 1")
    log = Log(time=time, ids=ids, payload=payload, length=length, attack=label.astype(np.bool_))
    return whole([Piece(log=log, rows=np.arange(1, len(log) + 1))], where=str(path), unit="row")


def _refused(path: Path | str, row: int, what: str) -> MechlabError:
    return refused(str(path), row + 1, what, unit="row")


def _table(path: Path) -> dict[str, Any]:
    """Return the four columns, each in one piece."""
    arrow, parquet = _arrow()
    try:
        found = parquet.read_table(path)
    except (arrow.ArrowException, OSError) as fault:
        raise MechlabError(
            f"'{path}' is no parquet file or is damaged ({str(fault).splitlines()[0]}); fetch it again."
        ) from fault
    given = {name.lower(): name for name in found.column_names}
    columns = {}
    for kind, names in NAMES.items():
        have = [given[name] for name in names if name in given]
        if len(have) != 1:
            raise MechlabError(
                f"'{path}' has the columns {', '.join(found.column_names)}; exactly one of "
                f"{', '.join(names)} must be among them, which holds the {kind}."
            )
        columns[kind] = found[have[0]].combine_chunks()
        if columns[kind].null_count:
            row = int(np.argmax(columns[kind].is_null().to_numpy(zero_copy_only=False)))
            raise _refused(path, row, f"the {kind} is missing")
    return columns


def _arrow() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as fault:
        raise MechlabError(
            "reading parquet needs the package 'pyarrow', which is not installed; "
            "install it with: pip install -e '.[can]'."
        ) from fault
    return pyarrow, pyarrow.parquet


def _numbers(column: Any, where: str, kind: str) -> np.ndarray:  # noqa: ANN401 - an Arrow array
    values = column.to_numpy(zero_copy_only=False)
    if values.dtype.kind not in "uifb":
        raise MechlabError(f"'{where}': the {kind} is {column.type}, not a number; give numbers.")
    return np.asarray(values)


def _ids(column: Any, where: str) -> np.ndarray:  # noqa: ANN401
    arrow, _ = _arrow()
    if arrow.types.is_integer(column.type):
        numbers, wrong = column.to_numpy(zero_copy_only=False), None
    else:
        fields = _text(column, where, "id")
        numbers, wrong = hexadecimals(fields)
        if wrong is not None:
            raise _refused(where, wrong, f"id '{fields.letters(wrong)}' is no hexadecimal number")
    outside = np.flatnonzero((numbers < 0) | (numbers >= ALL_IDS))
    if outside.size:
        raise _refused(where, int(outside[0]), f"id {numbers[outside[0]]} does not fit 29 bits")
    return numbers.astype(np.uint32)


def _text(column: Any, where: str, kind: str) -> Fields:  # noqa: ANN401
    """Return the letters of a column of text where Arrow keeps them."""
    arrow, _ = _arrow()
    if arrow.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not (arrow.types.is_string(column.type) or arrow.types.is_large_string(column.type)):
        raise MechlabError(f"'{where}': the {kind} is {column.type}, not text; give hexadecimal digits.")
    column = column.cast(arrow.large_string())
    _, offsets, letters = column.buffers()
    places = np.frombuffer(offsets, dtype=np.int64)[column.offset : column.offset + len(column) + 1]
    text = np.frombuffer(letters, dtype=np.uint8) if letters is not None else np.zeros(0, dtype=np.uint8)
    return Fields(np.concatenate([text, np.zeros(PADDING, dtype=np.uint8)]), places[:-1], places[1:])
