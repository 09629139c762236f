"""The embedded data set as an adapter: gear, weave and board (inventory D7)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from mechlab.errors import MechlabError, unknown
from mechlab.specs import Item
from reproductions.datasets.embedded.render import PARTS, Coordinates, render
from reproductions.datasets.pictures import resized, resized_mask

TRAIN, GOOD, EACH_DEFECT = 60, 30, 6  # pictures: normal training, normal test, of each defect kind
PREFIX = "embedded:"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedDataset:
    """Pictures that are rendered when they are asked for; the same on every call."""

    name: str = "embedded"

    def classes(self) -> tuple[str, ...]:
        """Return gear, weave, board."""
        return tuple(PARTS)

    def items(self, class_name: str) -> tuple[Item, ...]:
        """Return the pictures of a class, training split first; nothing is rendered."""
        if class_name not in PARTS:
            raise unknown("class of the data set 'embedded'", class_name, PARTS)
        train = [("train", "good", number) for number in range(TRAIN)]
        good = [("test", "good", number) for number in range(GOOD)]
        defects = sorted(PARTS[class_name].DEFECTS)
        bad = [("test", defect, number) for defect in defects for number in range(EACH_DEFECT)]
        return tuple(
            _item(Coordinates(class_name=class_name, split=split, defect=defect, number=number))
            for split, defect, number in (*train, *good, *bad)
        )

    def image(self, item: Item, size: int) -> UInt8[np.ndarray, "height width 3"]:
        """Return one RGB picture, resized to size x size pixels (224 is its own size)."""
        return resized(render(_coordinates(item))[0], size)

    def mask(self, item: Item, size: int) -> Bool[np.ndarray, "height width"]:
        """Return the exact defect mask, resized like the picture; all False for a normal picture."""
        return resized_mask(render(_coordinates(item))[1], size)


def open(root: Path | None) -> EmbeddedDataset:
    """Open the embedded data set, which needs no folder."""
    if root is not None:
        raise MechlabError(f"the data set 'embedded' is rendered and reads no folder; leave out --root '{root}'.")
    return EmbeddedDataset()


def _item(at: Coordinates) -> Item:
    normal = at.defect == "good"
    return Item(
        sha256=at.identity,
        class_name=at.class_name,
        split=at.split,
        label=0 if normal else 1,
        defect=at.defect,
        image=f"{PREFIX}{at}",
        mask=None if normal else f"{PREFIX}{at}",
    )


def _coordinates(item: Item) -> Coordinates:
    parts = item.image.removeprefix(PREFIX).split("/")
    if not item.image.startswith(PREFIX) or len(parts) != 4 or parts[0] not in PARTS or not parts[3].isdecimal():
        raise ValueError(f"{item.image!r} is no picture of the embedded data set")
    return Coordinates(class_name=parts[0], split=parts[1], defect=parts[2], number=int(parts[3]))
