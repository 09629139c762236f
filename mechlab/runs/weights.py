"""The tensors of a safetensors file as memory-mapped arrays, without torch; bfloat16 is widened when read.

Source: the safetensors format (8 bytes of header length, a JSON header, the bytes of the tensors).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from mechlab.errors import MechlabError

BLOCK = 1 << 20  # elements that are read at a time
_HEADER_BYTES = 100 * 1024**2  # no honest header is longer
_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "u1",
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a file; nothing is read before it is asked for."""

    shape: tuple[int, ...]
    dtype: str  # as safetensors names it
    raw: UInt8[np.ndarray, " bytes"]  # memory-mapped

    def blocks(self) -> Iterator[Float[np.ndarray, " element"]]:
        """Give the values in their order as float64, at most BLOCK at a time."""
        stored = self.raw.view(_DTYPES[self.dtype])
        for start in range(0, len(stored), BLOCK):
            block = stored[start : start + BLOCK]
            if self.dtype == "BF16":  # the upper half of a float32
                block = (block.astype(np.uint32) << 16).view(np.float32)
            yield block.astype(np.float64)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name; a missing, truncated or foreign file is a MechlabError."""
    try:
        data = np.memmap(path, dtype=np.uint8, mode="r")
    except FileNotFoundError as fault:
        raise MechlabError(
            f"'{path}' does not exist; give a checkpoint that 'mechlab train' made."
        ) from fault
    except (OSError, ValueError) as fault:
        raise _damaged(path, str(fault)) from fault
    try:
        length = int.from_bytes(data[:8].tobytes(), "little")
        if len(data) < 8 or not 0 < length <= min(_HEADER_BYTES, len(data) - 8):
            raise ValueError("its header does not fit the file")
        header = json.loads(data[8 : 8 + length].tobytes())
        body = data[8 + length :]
        return {name: _tensor(entry, body) for name, entry in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        raise _damaged(path, str(fault.args[0]) if fault.args else repr(fault)) from fault


def _tensor(entry: dict[str, Any], body: UInt8[np.ndarray, " bytes"]) -> Tensor:
    begin, end = (int(place) for place in entry["data_offsets"])
    shape, dtype = tuple(int(length) for length in entry["shape"]), str(entry["dtype"])
    if dtype not in _DTYPES:
        raise ValueError(f"type {dtype} is none of {', '.join(_DTYPES)}")
    size = prod(shape) * np.dtype(_DTYPES[dtype]).itemsize
    if min(shape, default=0) < 0 or not 0 <= begin <= end <= len(body) or end - begin != size:
        raise ValueError(f"a tensor of shape {shape} does not fit its {end - begin} bytes")
    return Tensor(shape, dtype, body[begin:end])


def _damaged(path: Path, reason: str) -> MechlabError:
    return MechlabError(
        f"'{path}' is no safetensors file or is damaged ({reason}); restore a copy or train the run again."
    )
