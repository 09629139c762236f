"""The names of the recording format and what its arrays may hold (docs/recording.md, version 1)."""

import json
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mechlab.errors import MechlabError
from mechlab.files import canonical_json

FORMAT = "mechlab recording"
VERSION = 1
PACKED = "recording.h5"
START_LOCK = "start.lock"
VALUES = "values"
ITEMS = "items"  # group of the item table; no quantity may have this name
AXES = (
    *(
        "step",
        "stage",
        "adapter",
        "item",
        "row",
        "column",
        "dim",
        "layer",
        "fan_out",
        "fan_in",
        "rank",
        "draw",
        "quantile",
    ),
    *("batch", "height", "width", "channel"),  # of raw images and foreign models
)
_AXIS = re.compile(rf"({'|'.join(AXES)})(_[a-z0-9]+)?")  # "dim_other": a second axis of the same kind
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Column:
    """One array as it is stored: little-endian numbers or fixed-length UTF-8."""

    values: np.ndarray
    is_bool: bool = False  # uint8 that means booleans

    @property
    def kind(self) -> str:
        """Name of the type that the caller gave, without the length of strings."""
        return "bool" if self.is_bool else kind_of(self.values.dtype)


def check_version(version: object, path: Path) -> None:
    """Refuse a recording of another version."""
    if version != VERSION:
        raise MechlabError(
            f"'{path}' is a recording of version {version}; this mechlab reads version {VERSION}: "
            "use the mechlab that wrote it, or record again."
        )


def split_key(key: str) -> tuple[str, str]:
    """Return quantity and site of a key "<quantity>/<site>".

    Raises ValueError for any other form.
    """
    quantity, _, site = key.partition("/")
    is_site = site.isprintable() and "/" not in site and site.strip() not in ("", ".", "..")
    if not _NAME.fullmatch(quantity) or quantity == ITEMS or not is_site:
        raise ValueError(f"key {key!r} is not '<quantity>/<site>', e.g. 'latent/flow.3'")
    return quantity, site


def check_axes(axes: tuple[str, ...], coordinates: tuple[str, ...]) -> None:
    """Refuse axes outside the alphabet, axes given twice, and coordinates whose names collide with axes."""
    for axis in axes:
        if not _AXIS.fullmatch(axis):
            raise ValueError(
                f"axis {axis!r} is none of {', '.join(AXES)} (a suffix as in 'dim_other' is allowed)"
            )
    if len(set(axes)) != len(axes):
        raise ValueError(f"axes {axes} name one axis twice; give the second a suffix, as in 'dim_other'")
    for name in coordinates:
        if not _NAME.fullmatch(name) or name == VALUES or name in axes[1:]:
            raise ValueError(
                f"coordinate {name!r} needs a lower-case name that is neither 'values' nor a later axis"
            )


@cache  # a type's name takes longer than a small array takes to copy
def kind_of(dtype: np.dtype[Any]) -> str:
    """Return the name of a type without the length of strings."""
    return "str" if dtype.kind in "USTO" else dtype.name


def stored(array: np.ndarray) -> Column:
    """Return a private copy of `array`, or itself where it is for reading alone, as it is stored.

    Numbers of 1 to 8 bytes are kept bit by bit; booleans become uint8; text becomes fixed-length UTF-8.
    Raises TypeError for any other type.
    """
    kind = array.dtype.kind
    if kind in "iuf" and array.dtype.itemsize <= 8:
        if array.dtype.byteorder in "=|" and sys.byteorder == "little":
            if array.flags.owndata and not array.flags.writeable:
                return Column(array)  # nobody can change it
            return Column(array.copy())  # the usual case, and the quick one
        return Column(np.array(array, dtype=array.dtype.newbyteorder("<"), order="C", copy=True))
    if kind == "b":
        return Column(np.array(array, dtype=np.uint8, order="C", copy=True), is_bool=True)
    if kind in "UTO":
        return Column(_encoded(array))
    raise TypeError(
        f"arrays of type {array.dtype} cannot be recorded; give integers, floats, booleans or text"
    )


def lent(array: np.ndarray, room: np.ndarray) -> Column:
    """Return an array that lies at the start of `room` as it is stored, without a copy.

    Raises ValueError for an array that lies elsewhere, or is not dense, native little-endian numbers.
    """
    is_plain = (
        array.dtype.kind in "iuf"
        and array.dtype.itemsize <= 8
        and array.dtype.newbyteorder("<") == array.dtype
    )
    starts = array.__array_interface__["data"][0] == room.__array_interface__["data"][0]
    if not (is_plain and array.flags.c_contiguous and starts and array.nbytes <= room.nbytes):
        raise ValueError(f"{array.dtype} values of shape {array.shape} do not lie at the start of their room")
    return Column(array)


def _encoded(array: np.ndarray) -> np.ndarray:
    texts = array.ravel().tolist()
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("object arrays cannot be recorded unless every element is text")
    if any("\0" in text for text in texts):
        raise ValueError("text with NUL characters cannot be recorded")
    data = [text.encode() for text in texts]
    length = max((len(text) for text in data), default=0)
    # netCDF tools take text of one byte for the characters of a longer one, and join them
    return np.array(data, dtype=f"S{max(length, 2)}").reshape(array.shape)


def decoded(values: np.ndarray, *, is_bool: bool) -> np.ndarray:
    """Return stored values in the form in which they were given."""
    if is_bool:
        return values.view(np.bool_) if values.dtype == np.uint8 else values.astype(np.bool_)
    if values.dtype.kind == "S":
        texts = [text.decode() for text in values.ravel().tolist()]
        return np.array(texts, dtype=np.str_).reshape(values.shape)
    if values.dtype.kind == "O":  # variable-length text, as h5py gives it
        texts = [text.decode() if isinstance(text, bytes) else str(text) for text in values.ravel().tolist()]
        return np.array(texts, dtype=np.str_).reshape(values.shape)
    return values


@cache
def _text_type(length: int) -> h5py.h5t.TypeID:
    return h5py.h5t.py_create(h5py.string_dtype("utf-8", length), logical=True)


@cache
def _scalar() -> h5py.h5s.SpaceID:
    return h5py.h5s.create(h5py.h5s.SCALAR)


def put_text(node: h5py.HLObject, name: str, text: str) -> None:
    """Write a text attribute of fixed length, so that the checksums of the file cover it."""
    data = np.array(text.encode())
    # Not through `node.attrs`: a segment has hundreds of these, and the recorded loop waits meanwhile.
    if h5py.h5a.exists(node.id, name.encode()):
        h5py.h5a.delete(node.id, name.encode())
    attribute = h5py.h5a.create(node.id, name.encode(), _text_type(max(data.itemsize, 1)), _scalar())
    attribute.write(data, mtype=_text_type(max(data.itemsize, 1)))


def get_text(node: h5py.HLObject, name: str) -> str | None:
    """Return a text attribute, or None when it is absent or not text."""
    value = node.attrs.get(name)
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return value if isinstance(value, str) else None


def put_json(node: h5py.HLObject, name: str, value: object) -> None:
    """Write an attribute as canonical JSON text."""
    put_text(node, name, canonical_json(value))


def get_json(node: h5py.HLObject, name: str) -> Any:  # noqa: ANN401 - JSON is untyped
    """Return an attribute written by `put_json`; absent is None, damaged is ValueError."""
    text = get_text(node, name)
    return None if text is None else json.loads(text)
