"""The embedded data set as an adapter: gear, weave and board (inventory D7)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from mechlab.errors import MechlabError, unknown
from mechlab.specs import Item, Split
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
        kinds: list[tuple[Split, str, int]] = [("train", "good", TRAIN), ("test", "good", GOOD)]
        kinds += [("test", defect, EACH_DEFECT) for defect in sorted(PARTS[class_name].DEFECTS)]
        return tuple(
            _item(Coordinates(class_name=class_name, split=split, defect=defect, number=number))
            for split, defect, count in kinds
            for number in range(count)
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
        raise MechlabError(
            f"the data set 'embedded' is rendered and reads no folder; leave out --root '{root}'."
        )
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
    number = item.image.rpartition("/")[2]
    at = Coordinates(
        class_name=item.class_name,
        split=item.split,
        defect=item.defect,
        number=int(number) if number.isdecimal() else -1,
    )
    if item.image != f"{PREFIX}{at}" or item.sha256 != at.identity:
        raise MechlabError(
            f"'{item.image}' is no picture that this version of mechlab renders; make the run again."
        )
    return at
