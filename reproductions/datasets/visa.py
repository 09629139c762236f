"""VisA: twelve classes, split by the table `split_csv/1cls.csv` (inventory D2).

Source: Zou et al., "SPot-the-difference self-supervised pre-training", ECCV 2022. The table has a row an
image with the columns object, split, label, image and mask; paths are relative to the root. A mask's value
says which defect a pixel has, and every value above zero is defect here.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from mechlab.errors import MechlabError, unknown
from mechlab.files import sha256_file
from mechlab.specs import Item
from reproductions.datasets.layout import GOOD
from reproductions.datasets.pictures import read_image, read_mask

CLASSES = (
    *("candle", "capsules", "cashew", "chewinggum", "fryum", "macaroni1", "macaroni2"),
    *("pcb1", "pcb2", "pcb3", "pcb4", "pipe_fryum"),
)
TABLE = Path("split_csv") / "1cls.csv"
COLUMNS = ("object", "split", "label", "image", "mask")
LABELS = {"normal": 0, "anomaly": 1}
Row = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class VisA:
    """The classes of the table below one root folder."""

    name: str = "visa"
    root: Path
    rows: tuple[Row, ...] = field(repr=False)
    subsets: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"all": CLASSES}, compare=False)
    known: dict[str, tuple[Item, ...]] = field(default_factory=dict, repr=False, compare=False)  # hashed once

    def classes(self) -> tuple[str, ...]:
        """Return the classes of the table, sorted."""
        return tuple(sorted({row["object"] for row in self.rows}))

    def items(self, class_name: str) -> tuple[Item, ...]:
        """Return the images of a class, training split first, each in the order of the table.

        Raises:
            MechlabError: an unknown class, a row that points at a missing file, or a defective image
                without a mask.
        """
        if class_name not in self.classes():
            raise unknown(f"class in '{self.root / TABLE}'", class_name, self.classes())
        if class_name not in self.known:
            rows = [row for row in self.rows if row["object"] == class_name]
            rows.sort(key=lambda row: row["split"] != "train")
            self.known[class_name] = tuple(self._item(row) for row in rows)
        return self.known[class_name]

    def _item(self, row: Row) -> Item:
        label = LABELS[row["label"]]
        if label and not row["mask"]:
            raise MechlabError(
                f"'{self.root / TABLE}' gives defective image '{row['image']}' no mask; add its path."
            )
        image = self._file(row, "image")
        return Item(
            sha256=sha256_file(image),
            class_name=row["object"],
            split="train" if row["split"] == "train" else "test",
            label=label,
            defect="anomaly" if label else GOOD,
            image=str(image),
            mask=str(self._file(row, "mask")) if label else None,
        )

    def _file(self, row: Row, column: str) -> Path:
        file = self.root / row[column]
        if not file.is_file():
            raise MechlabError(
                f"'{self.root / TABLE}' names the {column} '{row[column]}' of class '{row['object']}', which "
                f"is not below '{self.root}'; restore the file, or remove its row."
            )
        return file

    def image(self, item: Item, size: int) -> UInt8[np.ndarray, "height width 3"]:
        """Return one RGB image, resized to size x size pixels."""
        return read_image(Path(item.image), size)

    def mask(self, item: Item, size: int) -> Bool[np.ndarray, "height width"]:
        """Return the defect mask, resized like the image; all False for a normal image."""
        if item.mask is None:
            return np.zeros((size, size), dtype=bool)
        return read_mask(Path(item.mask), size)


def open(root: Path | None) -> VisA:
    """Open the folder that holds `split_csv/1cls.csv` and the class folders.

    Raises:
        MechlabError: no folder, no table, a table without a needed column, or a word it may not hold.
    """
    if root is None:
        raise MechlabError("data set 'visa' needs a folder; give it with --root DIR.")
    table = root / TABLE
    if not table.is_file():
        raise MechlabError(f"'{table}' does not exist; give the folder of VisA with --root, table included.")
    with table.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise MechlabError(f"'{table}' has no column '{missing[0]}'; it needs {', '.join(COLUMNS)}.")
        rows = tuple({name: (row[name] or "").strip() for name in COLUMNS} for row in reader)
    for number, row in enumerate(rows, start=2):
        for column, allowed in (("object", CLASSES), ("split", ("train", "test")), ("label", tuple(LABELS))):
            if row[column] not in allowed:
                raise MechlabError(
                    f"'{table}', line {number}: {column} '{row[column]}' is none of {', '.join(allowed)}; "
                    "correct the row."
                )
    if not rows:
        raise MechlabError(f"'{table}' names no image; restore the table of the data set.")
    return VisA(root=root, rows=rows)
