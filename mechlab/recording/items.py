"""The item table: what each image is, stored once and counted by the coordinate `item`."""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from mechlab.recording.chunk import bare_scale, write_whole
from mechlab.recording.format import ITEMS, decoded, stored
from mechlab.recording.opened import child_data, child_group
from mechlab.recording.quantity import reading
from mechlab.specs import Item

_FIELDS = ("sha256", "class_name", "split", "label", "defect", "image", "mask")


def identity(item: Item) -> tuple[str, str, str, int, str]:
    """Return what an image is, without the paths at which it lay."""
    return item.sha256, item.class_name, item.split, item.label, item.defect


def write_items(file: h5py.File, items: Sequence[Item]) -> None:
    """Write the table, one data set a field; nothing is written for an empty table."""
    if not items:
        return
    group = file.create_group(ITEMS)
    scale = bare_scale(group, "item", len(items))
    for name in _FIELDS:
        values = [getattr(item, name) for item in items]
        kind = np.int32 if name == "label" else np.str_
        column = stored(np.array(["" if value is None else value for value in values], dtype=kind))
        write_whole(group, name, column).dims[0].attach_scale(scale)


def read_items(file: h5py.File) -> tuple[Item, ...]:
    """Return the table of a segment or of a packed file; absent is empty."""
    with reading(Path(file.filename), "the item table"):
        if ITEMS not in file:
            return ()
        group = child_group(file, ITEMS)
        columns = {name: decoded(child_data(group, name)[()], is_bool=False).tolist() for name in _FIELDS}
        rows = zip(*columns.values(), strict=True)
        tables = [dict(zip(columns, row, strict=True)) for row in rows]
        return tuple(Item(**(values | {"mask": values["mask"] or None})) for values in tables)
