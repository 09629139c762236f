"""A recording as a tree of plain data: groups, data sets, shapes, units, sizes, attributes, cost.

For `mechlab inspect`. Values are not read; coordinates are.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mechlab.files import size
from mechlab.recording.cost import cost, cost_line
from mechlab.recording.format import kind_of
from mechlab.recording.quantity import Quantity
from mechlab.recording.reader import Recording
from mechlab.recording.reader import open as open_recording

_WIDTH = 100  # characters of an attribute that are shown
_COUNTS = ("overflow", "underflow")  # coordinates: what fp16 could not hold of the piece that a row is in


def tree(path: Path | str) -> dict[str, Any]:
    """Return the tree of a recording (folder or file); any other file is refused.

    Every node has `name`, `kind` ("recording", "group" or "data set") and `attributes`. Groups have
    `children`; data sets `shape`, `axes`, `dtype`, `unit`, `coordinates` and `bytes` of their values; the
    recording has `bytes` on disk, `value_bytes` of all keys, and `cost`. A data set of float16 has
    `not_finite` where that was counted, or the largest `overflow` and `underflow` that stand at a row.
    """
    with open_recording(path) as recording:
        return _recording(recording)


def lines(node: dict[str, Any], *, depth: int = 0) -> Iterator[str]:
    """Give the tree of `tree` as lines of text, two blanks a level."""
    indent = "  " * depth
    words = [node["name"], f"({node['kind']})" if node["kind"] not in ("group", "data set") else ""]
    if node["kind"] == "data set":
        shape = " × ".join(
            f"{axis} {length}" for axis, length in zip(node["axes"], node["shape"], strict=True)
        )
        words += [f"[{shape}]", node["dtype"], node["unit"] or ""]
        words += ["by " + ", ".join(node["coordinates"])] if node.get("coordinates") else []
    words += [f"{node[name]} {name}" for name in ("items", "segments") if node.get(name)]
    words += [f"{node['not_finite']} not finite"] if node.get("not_finite") else []
    words += [f"up to {node[name]} {name} a row" for name in _COUNTS if node.get(name)]
    words += [size(node["bytes"])] if "bytes" in node else []
    yield indent + "  ".join(word for word in words if word)
    for name, value in node["attributes"].items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield f"{indent}  @{name} = {text if len(text) <= _WIDTH else text[: _WIDTH - 1] + '…'}"
    if "cost" in node:
        yield f"{indent}  values {size(node['value_bytes'])}; {cost_line(node['cost'])}"
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
        "value_bytes": sum(site["bytes"] for sites in quantities.values() for site in sites),
        "cost": cost(recording),
        "children": children,
    }


def _quantity(quantity: Quantity) -> dict[str, Any]:
    coordinates = {name: kind_of(values.dtype) for name, values in quantity.coordinates.items()}
    lost = {name: int(quantity.coordinates[name].max(initial=0)) for name in _COUNTS if name in coordinates}
    lost |= {} if quantity.not_finite is None else {"not_finite": quantity.not_finite}
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
        **lost,
    }
