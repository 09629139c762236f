"""Patching: what a site says is replaced by what was recorded there, or elsewhere, of the same items.

Patching a recording of the model itself changes no bit. A latent alone may be patched: the log-dets stay
those of what the blocks were given, so the score is then no density. Source: design notes, "EvalSpec";
Vig et al. 2020 on activation patching.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from mechlab.errors import MechlabError
from mechlab.instrument.replacement import Change, Effect, Place, find_places, replacing, same_bits
from mechlab.instrument.sites import Site
from mechlab.intervention import Patch
from mechlab.recording import Quantity, Recording
from mechlab.runs.interventions import recording_hash


@contextmanager
def patch(
    model: nn.Module,
    site: str,
    recording: Recording,
    key: str,
    *,
    items: Sequence[int] | Int[np.ndarray, " item"],
    at: Mapping[str, int] | None = None,
    sites: Iterable[Site] = (),
) -> Iterator[Effect]:
    """Replace what a site returns by the rows of `key`, until the block ends.

    `items` are rows of the recording's item table, in the order in which they will come through the site;
    `at` chooses among several rows of an item by coordinates, such as {"adapter": 0}.

    Raises:
        MechlabError: a pattern that selects no place or several, an output of several tensors, items that
            were not recorded or not once, other shapes, values that the site's type cannot hold or that were
            rounded, and items left over at the end.
    """
    place = patched_place(model, site, sites=sites)
    rows = RecordedRows(recording[key], at=at or {})
    queue = deque(int(item) for item in items)
    rows.check(queue)
    name = Patch(site=site, recording=recording_hash(recording, key), key=key).text
    effect = Effect(name=name, places=(place.name,))
    with replacing(model, [place], change=rows.change(queue), effect=effect):
        yield effect
    effect.check()
    refuse_left_over(queue, name)


def refuse_left_over(queue: deque[int], name: str) -> None:
    """Refuse items that never came through the site."""
    if queue:
        raise MechlabError(
            f"'{name}' was given {len(queue)} more items than came through the site; give those of the "
            "block, in order."
        )


def patched_place(model: nn.Module, site: str, *, sites: Iterable[Site] = ()) -> Place:
    """Return the one place that a pattern selects."""
    places = find_places(model, site, sites=sites)
    if len(places) > 1 or len(places[0].sites) > 1:
        names = ", ".join(place.name for place in places[:4])
        raise MechlabError(f"site '{site}' selects {names}; a patch replaces one, so name it.")
    return places[0]


class RecordedRows:
    """The rows of one key, found by item and read when they are needed."""

    def __init__(self, quantity: Quantity, *, at: Mapping[str, int]) -> None:
        """Choose the rows at some coordinates; MechlabError where the key has no items or no such rows."""
        self.quantity, self.at = quantity, dict(at)
        coordinates = quantity.coordinates
        if "item" not in coordinates:
            raise MechlabError(
                f"'{quantity.key}' does not say which item a row is of; name the items while you record."
            )
        for name in at:
            if name not in coordinates:
                raise MechlabError(
                    f"'{quantity.key}' has no coordinate '{name}'; it has {', '.join(coordinates)}."
                )
        kept = np.ones(len(quantity), dtype=bool)
        for name, value in at.items():
            kept &= coordinates[name] == value
        self.row: dict[int, int] = {}
        for row in np.flatnonzero(kept):
            item = int(coordinates["item"][row])
            if item in self.row:
                raise self._several(item, self.row[item], int(row))
            self.row[item] = int(row)

    def _several(self, item: int, one: int, other: int) -> MechlabError:
        columns = self.quantity.coordinates
        differing = [name for name, column in columns.items() if column[one] != column[other]]
        what = f"which differ in {', '.join(differing)}" if differing else "alike in every coordinate"
        do = f"say which with at={{'{differing[0]}': ...}}" if differing else "record it once"
        return MechlabError(f"'{self.quantity.key}' has several rows of item {item}, {what}; {do}.")

    def check(self, items: Iterable[int]) -> None:
        """Refuse items that were not recorded."""
        missing = [item for item in items if item not in self.row]
        if missing:
            told = f" at {self.at}" if self.at else ""
            raise MechlabError(
                f"item {missing[0]} (and {len(missing) - 1} more) is not recorded under "
                f"'{self.quantity.key}'{told}; record it without a limit, or leave it out."
            )

    def change(self, queue: deque[int]) -> Change:
        """Return what replaces a tensor by the rows of the next items of a queue."""

        def replaced(place: Place, parts: list[Tensor]) -> list[Tensor]:
            if len(parts) != 1:
                raise MechlabError(
                    f"site '{place.name}' returns {len(parts)} tensors and '{self.quantity.key}' holds one; "
                    "name one part of it as a site."
                )
            axis = place.axis(0)
            moved = parts[0].movedim(axis, 0)
            count = self._count(place, moved)
            if count > len(queue):
                raise MechlabError(
                    f"{count} items come through site '{place.name}' and {len(queue)} are left of those that "
                    "were named; name every item of the block, in order."
                )
            values = self._values([queue.popleft() for _ in range(count)], moved)
            return [values.reshape(moved.shape).movedim(0, axis).contiguous()]

        return replaced

    def _count(self, place: Place, moved: Tensor) -> int:
        """Return the items in a tensor: one a row, or several rows an item where patches lie flat."""
        tail = self.quantity.shape[1:]
        for folded in range(len(tail)):
            rows = prod(tail[:folded])
            if tuple(moved.shape[1:]) == tail[folded:] and len(moved) % rows == 0:
                return len(moved) // rows
        if moved.ndim == 1 and not tail:
            return len(moved)
        raise MechlabError(
            f"'{self.quantity.key}' holds {tail} an item and site '{place.name}' gives "
            f"{tuple(moved.shape[1:])}; patch a recording of the same site and size."
        )

    def _values(self, items: list[int], like: Tensor) -> Tensor:
        """Return recorded rows in the type of a tensor; what would be rounded is refused."""
        recorded = torch.from_numpy(self.quantity[[self.row[item] for item in items]])
        found = recorded.to(like.dtype)
        is_narrower = recorded.element_size() < like.element_size()
        if is_narrower or not same_bits(found.to(recorded.dtype), recorded):
            raise MechlabError(
                f"'{self.quantity.key}' is {self.quantity.dtype} and the site gives {like.dtype}, so the "
                f"patch would be rounded; record it with dtype {str(like.dtype).removeprefix('torch.')}."
            )
        return found.to(like.device)
