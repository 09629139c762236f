"""Which images a recording of a foreign model holds: its item table, and rows of it by name or number.

An image that is known by its name alone has the digest of that name in place of that of its bytes.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from mechlab.errors import MechlabError, unknown
from mechlab.files import sha256_bytes
from mechlab.specs import Item

Named = Item | str | tuple[str, int]  # an image; its name; its name and label (0 normal, 1 defective)
Chosen = Sequence[Named | int] | Int[np.ndarray, " item"]  # rows of a table, by number or as in it
CLASS = "all"  # of images that are known by name alone


class ItemTable:
    """The images of a recording, in order; `rows` finds them again."""

    def __init__(self, items: Sequence[Named]) -> None:
        """Make the table; a name alone is a normal image. An image that stands twice is a MechlabError."""
        self.items = tuple(_item(entry) for entry in items)
        if not self.items:
            raise MechlabError("items is empty; give one entry an image, or leave items out.")
        self._row: dict[str, int] = {}
        for number, item in enumerate(self.items):
            first = self._row.setdefault(item.image, number)
            if first != number:
                raise MechlabError(
                    f"image '{item.image}' stands at rows {first} and {number} of items; name it once."
                )

    def rows(self, chosen: Chosen) -> Int[np.ndarray, " item"]:
        """Return rows of the table for numbers, names (with or without label) or Items.

        Raises MechlabError for one that is not in it, or has another label there.
        """
        return np.array([self._number(entry) for entry in chosen], dtype=np.int64)

    def _number(self, entry: Named | int | np.integer) -> int:
        if isinstance(entry, int | np.integer) and not isinstance(entry, bool):
            if not 0 <= entry < len(self.items):
                raise MechlabError(
                    f"item {entry} is not in the table of {len(self.items)}; give 0 to {len(self.items) - 1}."
                )
            return int(entry)
        if isinstance(entry, bool) or not isinstance(entry, Item | str | tuple):
            raise MechlabError(
                f"{entry!r} names no item; give its row, its name (with or without its label) or the Item."
            )
        named = _item(entry)
        if named.image not in self._row:
            raise unknown("item", named.image, list(self._row)[:6])
        row = self._row[named.image]
        if not isinstance(entry, str) and named.label != self.items[row].label:
            raise MechlabError(
                f"'{named.image}' was given label {named.label} and has {self.items[row].label} in items; "
                "correct one of them, or give its name alone."
            )
        return row


def _item(entry: Named) -> Item:
    if isinstance(entry, Item):
        return entry
    pair = (entry, 0) if isinstance(entry, str) else entry
    name, label = pair if isinstance(pair, tuple) and len(pair) == 2 else (None, None)
    if not isinstance(name, str) or label not in (0, 1):
        raise MechlabError(
            f"{entry!r} is no item; give an Item, a name, or a name with its label (0 normal, 1 defective)."
        )
    return Item(
        sha256=sha256_bytes(name.encode()),
        class_name=CLASS,
        split="test",
        label=int(label),
        defect="defective" if label else "good",
        image=name,
    )
