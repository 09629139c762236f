"""A recording, or any HDF5 file, as a tree of plain data: groups, data sets, shapes, units, attributes.

For `mechlab inspect`. Links are named and never followed; values are not read.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from mechlab.files import size
from mechlab.recording.format import FORMAT, get_text, kind_of
from mechlab.recording.opened import open_hdf5
from mechlab.recording.quantity import Quantity, reading
from mechlab.recording.reader import Recording
from mechlab.recording.reader import open as open_recording
from mechlab.result import plain

_WIDTH = 100  # characters of an attribute that are shown


def tree(path: Path | str) -> dict[str, Any]:
    """Return the tree of a recording (folder or file) or of another HDF5 file.

    Every node has `name`, `kind` ("recording", "group", "data set" or "link") and `attributes`; groups have
    `children`, data sets `shape`, `axes` (None when unknown), `dtype`, `unit`, `bytes`.
    """
    path = Path(path)
    if path.is_file():
        with open_hdf5(path) as file, reading(path, "the tree"):
            is_recording = get_text(file, "format") == FORMAT and "rank" not in file.attrs
            if not is_recording:
                return _group(file, path.name) | {"kind": "HDF5 file", "bytes": path.stat().st_size}
    with open_recording(path) as recording:
        return _recording(recording)


def lines(node: dict[str, Any], *, depth: int = 0) -> Iterator[str]:
    """Give the tree of `tree` as lines of text, two blanks a level."""
    indent = "  " * depth
    words = [node["name"], f"({node['kind']})" if node["kind"] not in ("group", "data set") else ""]
    if node["kind"] == "data set":
        axes = node["axes"] or [""] * len(node["shape"])
        shape = " × ".join(
            f"{axis} {length}".strip() for axis, length in zip(axes, node["shape"], strict=True)
        )
        words += [f"[{shape}]", node["dtype"], node["unit"] or ""]
        words += ["by " + ", ".join(node["coordinates"])] if node.get("coordinates") else []
    words += [f"{node[name]} {name}" for name in ("items", "segments") if node.get(name)]
    words += [size(node["bytes"])] if "bytes" in node else []
    yield indent + "  ".join(word for word in words if word)
    for name, value in node["attributes"].items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield f"{indent}  @{name} = {text if len(text) <= _WIDTH else text[: _WIDTH - 1] + '…'}"
    for child in node.get("children", ()):
        yield from lines(child, depth=depth + 1)


def _recording(recording: Recording) -> dict[str, Any]:
    quantities: dict[str, list[dict[str, Any]]] = {}
    for key in recording:
        name = key.partition("/")[0]
        quantities.setdefault(name, []).append(_quantity(recording[key]))
    children = [
        {"name": name, "kind": "group", "attributes": {}, "children": sites}
        for name, sites in quantities.items()
    ]
    files = [recording.path] if recording.is_packed else sorted(recording.path.glob("r*.h5"))
    attributes = recording.attributes | {"facts": recording.facts, "statistics": recording.statistics}
    return {
        "name": recording.name,
        "kind": "recording",
        "attributes": attributes,
        "items": len(recording.items),
        "segments": 0 if recording.is_packed else len(files),
        "bytes": sum(path.stat().st_size for path in files),
        "children": children,
    }


def _quantity(quantity: Quantity) -> dict[str, Any]:
    coordinates = {name: kind_of(values.dtype) for name, values in quantity.coordinates.items()}
    return {
        "name": quantity.key.partition("/")[2],
        "kind": "data set",
        "attributes": quantity.attributes,
        "shape": list(quantity.shape),
        "axes": list(quantity.axes),
        "dtype": kind_of(quantity.dtype),
        "unit": quantity.unit,
        "bytes": quantity.nbytes,
        "coordinates": coordinates,
    }


def _group(group: h5py.Group, name: str) -> dict[str, Any]:
    children = []
    for child in group:
        link = group.get(child, getlink=True)
        if not isinstance(link, h5py.HardLink):
            children.append({"name": child, "kind": "link", "attributes": {"path": str(link.path)}})
            continue
        node = group[child]
        if isinstance(node, h5py.Group):
            children.append(_group(node, child))
        elif isinstance(node, h5py.Dataset):
            children.append(_data(node, child))
    return {"name": name, "kind": "group", "attributes": _attributes(group), "children": children}


def _data(data: h5py.Dataset, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "kind": "data set",
        "attributes": _attributes(data),
        "shape": list(data.shape or ()),
        "axes": None,
        "dtype": "str" if h5py.check_string_dtype(data.dtype) else str(data.dtype),
        "unit": get_text(data, "unit") or get_text(data, "units"),
        "bytes": int(data.nbytes),
    }


def _attributes(node: h5py.HLObject) -> dict[str, Any]:
    """Return attributes of numbers and text; anything else is named by its type."""
    values = {}
    for name in node.attrs:
        kind = node.attrs.get_id(name).dtype
        is_plain = kind.kind in "iufSb" or h5py.check_string_dtype(kind) is not None
        value = plain(node.attrs[name]) if is_plain else f"<{kind}>"
        values[name] = value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value
    return values
