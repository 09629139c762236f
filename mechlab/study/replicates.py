"""Which rows of a recording a probe reads, and which rows of its evidence are one replicate.

Source: design notes, "Result": images, classes or seeds are the unit of replication. An image that several
trainings saw is still one image; an image that several adapters saw is read through that of its own task.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mechlab.errors import MechlabError, unknown
from mechlab.recording import Recording

_SHOWN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """Rows of one quantity: last stage, one loss, one adapter (None: each image's own)."""

    key: str
    loss: str | None = None
    adapter: int | None = None


def chosen_sites(
    defaults: Mapping[str, str],
    sites: Mapping[str, str] | None,
    *,
    recording: Recording | None = None,
    several: Sequence[str] = (),
) -> dict[str, str]:
    """Return role -> key of a recording, with the user's choices in place of the defaults.

    With a `recording`, a choice may be a pattern of exactly one key; roles in `several` stay patterns.
    Raises MechlabError for a role that the probe does not have, and for a pattern of no or several keys.
    """
    for role in sites or {}:
        if role not in defaults:
            raise unknown("role of a site", role, defaults)
    keys = dict(sites or {})
    if recording is not None:
        keys |= {role: one_key(recording, key) for role, key in keys.items() if role not in several}
    return {**defaults, **keys}


def one_key(recording: Recording, pattern: str) -> str:
    """Return the key that a pattern selects; MechlabError unless it is exactly one."""
    if pattern in recording:
        return pattern
    found = recording.keys(pattern)
    if len(found) == 1:
        return found[0]
    named = ", ".join(list(found or recording.keys())[:_SHOWN])
    rest = len(found or recording.keys()) - _SHOWN
    named += f" and {rest} more" if rest > 0 else ""
    if found:
        raise MechlabError(
            f"'{pattern}' matches {len(found)} keys of recording '{recording.name}' ({named}); choose one."
        )
    raise MechlabError(
        f"no key of recording '{recording.name}' matches '{pattern}'; it holds {named or 'none'}."
    )


def training(recording: Recording, *, needs: str = "its training") -> dict[str, Any]:
    """Return the TrainSpec of the recorded run as JSON; a foreign model is a MechlabError.

    `needs` names what the probe reads from it.
    """
    train = _train(recording)
    if train is None:
        raise MechlabError(
            f"recording '{recording.name}' does not say how its model was trained, and this probe needs "
            f"{needs}; give one that mechlab made of its own run."
        )
    return train


def trained_once(recording: Recording) -> int | str:
    """Return what tells one training from another: the seed, or for a foreign model the recording's own id.

    That recordings of foreign models come from independent trainings is the caller's statement.
    """
    train = _train(recording)
    if train is not None:
        return int(train["seed"])
    return str(recording.attributes["run_id"] or recording.path)


def task_names(recording: Recording) -> dict[str, str]:
    """Return class -> its task, named by its classes; a foreign model has one task a class."""
    train = _train(recording)
    if train is None:
        return {item.class_name: item.class_name for item in recording.items}
    return {name: "+".join(names) for names in train["tasks"] for name in names}


def image_rows(
    recording: Recording, picks: Sequence[Pick], *, normal_only: bool = False
) -> tuple[Int[np.ndarray, " n"], list[Int[np.ndarray, " n"]]]:
    """Return the images that every pick holds, as indices of the item table, and each pick's rows for them.

    Raises MechlabError when a pick holds an image twice or when no image is in all of them.
    """
    found = [_rows(recording, pick) for pick in picks]
    items = reduce(np.intersect1d, [item for item, _ in found])
    if len(items) and items.max() >= len(recording.items):
        raise MechlabError(
            f"recording '{recording.name}' names item {items.max()} of a table of {len(recording.items)}; "
            "say which images they are: mechlab.record(..., items=[...]), or Writer.items."
        )
    if normal_only:
        items = items[[recording.items[index].label == 0 for index in items]]
    if not len(items):
        what = "normal images" if normal_only else "images"
        keys = ", ".join(dict.fromkeys(f"'{pick.key}'" for pick in picks))
        raise MechlabError(
            f"recording '{recording.name}' holds no {what} with {keys}; record them from a checkpoint."
        )
    return items, [rows[np.searchsorted(item, items)] for item, rows in found]


def replicate_means(names: Sequence[str], values: Sequence[int | float | None]) -> Float[np.ndarray, " n"]:
    """Return one mean a distinct name, in order of first appearance: rows of one name are one replicate.

    Rows whose value is None are left out.
    """
    kept = [(name, value) for name, value in zip(names, values, strict=True) if value is not None]
    kinds = {name: index for index, name in enumerate(dict.fromkeys(name for name, _ in kept))}
    index = np.array([kinds[name] for name, _ in kept], dtype=np.int64)
    totals = np.bincount(index, weights=np.array([value for _, value in kept], dtype=np.float64))
    return np.asarray(totals / np.maximum(np.bincount(index), 1))


def _rows(recording: Recording, pick: Pick) -> tuple[np.ndarray, np.ndarray]:
    """Return the items of a pick in ascending order, and their rows."""
    coordinates = recording[pick.key].coordinates
    if "item" not in coordinates:
        raise MechlabError(
            f"'{pick.key}' of recording '{recording.name}' names no images; record it from a checkpoint, or "
            "a model of your own with mechlab.record(..., items=[...]) and recorder.batch([...])."
        )
    item = coordinates["item"]
    keep = np.ones(len(item), dtype=bool)
    if "stage" in coordinates and len(item):
        keep &= coordinates["stage"] == coordinates["stage"].max()
    if pick.loss is not None:
        keep &= _under(recording, pick)
    if "adapter" in coordinates:
        keep &= _through(recording, item, coordinates["adapter"], pick.adapter)
    rows = np.flatnonzero(keep)
    rows = rows[np.argsort(item[rows], kind="stable")]
    if len(np.unique(item[rows])) < len(rows):
        raise MechlabError(
            f"'{pick.key}' of recording '{recording.name}' holds an image more than once; "
            "record it from one checkpoint, in one pass."
        )
    return item[rows], rows


def _under(recording: Recording, pick: Pick) -> np.ndarray:
    losses = recording[pick.key].coordinates.get("loss")
    if losses is None or pick.loss not in losses:
        known = [] if losses is None else np.unique(losses).tolist()
        raise unknown(f"loss of '{pick.key}' in recording '{recording.name}'", str(pick.loss), known)
    mask: np.ndarray = losses == pick.loss
    return mask


def _through(recording: Recording, item: np.ndarray, adapters: np.ndarray, adapter: int | None) -> np.ndarray:
    if adapter is not None:
        mask: np.ndarray = adapters == adapter
        return mask
    train = _train(recording)
    if train is None:
        return np.ones(len(item), dtype=bool)  # a foreign model: nothing says which adapter is an image's own
    own = {name: task for task, names in enumerate(train["tasks"]) for name in names}
    table = np.array([own.get(entry.class_name, -1) for entry in recording.items], dtype=np.int64)
    mask = adapters == table[item]
    return mask


def _train(recording: Recording) -> dict[str, Any] | None:
    for place in (recording.facts, recording.attributes, recording.attributes.get("spec")):
        value = place.get("train") if isinstance(place, Mapping) else None
        if isinstance(value, Mapping):
            return dict(value)
    return None
