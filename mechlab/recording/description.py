"""What stands beside the values of a key: axes, names of coordinates, unit, attributes.

In a packed file they are attributes of the data set, for any HDF5 reader. A segment has one list for all its
keys: an attribute takes as long to create as a small data set, and the recorded loop waits meanwhile.
Source: docs/recording.md, "Keys".
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import h5py

from mechlab.files import canonical_json
from mechlab.recording.format import get_json, get_text, put_json, put_text

DESCRIPTIONS = "descriptions"
_FIELDS = ("axes", "coordinates", "unit", "attributes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a reader must know of a key beside its numbers."""

    axes: tuple[str, ...]
    coordinates: tuple[str, ...]
    unit: str
    attributes: dict[str, Any]


def put_description(data: h5py.Dataset, description: Description) -> None:
    """Write a description as attributes of the values."""
    put_json(data, "axes", list(description.axes))
    put_text(data, "coordinates", " ".join(description.coordinates))  # as in the CF conventions
    put_text(data, "unit", description.unit)
    put_json(data, "attributes", description.attributes)


def get_description(data: h5py.Dataset) -> Description:
    """Return what the attributes of the values say. Raises ValueError when there are none, or no axes."""
    return _checked(
        get_json(data, "axes"),
        (get_text(data, "coordinates") or "").split(),
        get_text(data, "unit") or "",
        get_json(data, "attributes") or {},
    )


def put_descriptions(file: h5py.File, descriptions: Mapping[str, Description]) -> None:
    """Write the descriptions of all keys of a segment; equal ones once."""
    different: dict[tuple[Hashable, ...], int] = {}
    listed: list[dict[str, Any]] = []
    keys: dict[str, int] = {}
    for key, each in descriptions.items():
        attributes = canonical_json(each.attributes) if each.attributes else ""
        is_like = (each.axes, each.coordinates, each.unit, attributes)
        if is_like not in different:
            different[is_like] = len(listed)
            listed.append({name: getattr(each, name) for name in _FIELDS})
        keys[key] = different[is_like]
    put_json(file, DESCRIPTIONS, {"keys": keys, "of": listed})


def get_descriptions(file: h5py.File) -> dict[str, Description]:
    """Return the descriptions in a segment by key; none in a packed file.

    Raises ValueError, KeyError or TypeError when they are damaged.
    """
    value = get_json(file, DESCRIPTIONS)
    if value is None:
        return {}
    different = {place: _checked(*(each[name] for name in _FIELDS)) for place, each in enumerate(value["of"])}
    return {key: different[place] for key, place in value["keys"].items()}


def _checked(axes: object, coordinates: object, unit: object, attributes: object) -> Description:
    if not isinstance(axes, list):
        raise ValueError("its values have no axes")
    if not (isinstance(coordinates, list) and isinstance(unit, str) and isinstance(attributes, dict)):
        raise ValueError("its values are described in another way")
    return Description(axes=tuple(axes), coordinates=tuple(coordinates), unit=unit, attributes=attributes)
