"""AutoVI: six objects of car assembly; each defect of an image is a mask of its own (inventory D4).

Source: Carvalho et al., AutoVI, Zenodo 2024; MVTec LOCO's layout. Below
`<object>/ground_truth/<defect>/<stem>/` lie `0000.png`, `0001.png`, ...: one file a defect, whose value above
zero names an entry of `<object>/defects_config.json`:
`{defect_name, pixel_value, saturation_threshold, relative_saturation}`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer, UInt8

from mechlab.errors import MechlabError
from mechlab.files import read_json
from mechlab.metrics.spro import Channel, saturation
from mechlab.specs import Item
from reproductions.datasets.layout import LayoutDataset, opened
from reproductions.datasets.pictures import picture_size, read_values, resized_mask

CLASSES = ("engine_wiring", "pipe_clip", "pipe_staple", "tank_screw", "underbody_pipes", "underbody_screw")
CONFIG = "defects_config.json"
KEYS = ("defect_name", "pixel_value", "saturation_threshold", "relative_saturation")


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoVI:
    """The objects below one root folder."""

    name: str = "autovi"
    layout: LayoutDataset
    subsets: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"all": CLASSES}, compare=False)

    def classes(self) -> tuple[str, ...]:
        """Return the objects that are on the disk, sorted."""
        return self.layout.classes()

    def items(self, class_name: str) -> tuple[Item, ...]:
        """Return the images of an object, training split first; errors as those of MVTec's layout."""
        return self.layout.items(class_name)

    def image(self, item: Item, size: int) -> UInt8[np.ndarray, "height width 3"]:
        """Return one RGB image, resized to size x size pixels."""
        return self.layout.image(item, size)

    def mask(self, item: Item, size: int) -> Bool[np.ndarray, "height width"]:
        """Return the pixels that any defect of an image has; all False for a normal image."""
        found = np.zeros((size, size), dtype=bool)
        for file in _files(item):
            found |= resized_mask(read_values(file) > 0, size)
        return found

    def channels(self, item: Item, size: int) -> list[Channel]:
        """Return the defects of an image, resized like it, each with its saturation; none for a normal one.

        A saturation in pixels shrinks as the image does.

        Raises:
            MechlabError: a mask of two values, a value without an entry in the configuration, or a defect
                that vanishes at this size.
        """
        return [self._channel(item, file, size) for file in _files(item)]

    def verify(self, item: Item) -> None:
        """Look up each defect of an image; MechlabError for a mask or a configuration that does not fit."""
        for file in _files(item):
            self._entry(item, _value(read_values(file), file))

    def _channel(self, item: Item, file: Path, size: int) -> Channel:
        values = read_values(file)
        entry = self._entry(item, _value(values, file))
        mask = resized_mask(values > 0, size)
        area = int(np.count_nonzero(mask))
        if not area:
            raise MechlabError(
                f"the defect of '{file}' vanishes at {size} pixels; give a larger --image-size."
            )
        threshold, is_relative = entry["saturation_threshold"], bool(entry["relative_saturation"])
        if not is_relative:
            threshold = max(1, round(threshold * mask.size / values.size))
        return Channel(mask, saturation(area, threshold, is_relative=is_relative))

    def _entry(self, item: Item, value: int) -> dict[str, Any]:
        file = self.layout.root / item.class_name / CONFIG
        if not file.is_file():
            raise MechlabError(f"'{file}' does not exist; AUC-sPRO needs the saturation of each defect.")
        entries = _entries(file)
        if value not in entries:
            raise MechlabError(
                f"'{file}' has no defect of pixel value {value}, which a mask of '{item.defect}' has; it "
                f"knows {', '.join(map(str, sorted(entries)))}: add an entry."
            )
        return entries[value]


def _value(values: Integer[np.ndarray, "height width"], file: Path) -> int:
    found = np.unique(values[values > 0])
    if len(found) != 1:
        raise MechlabError(
            f"mask '{file}' has {len(found)} values above zero; one file shows one defect with one value."
        )
    return int(found[0])


def _entries(file: Path) -> dict[int, dict[str, Any]]:
    """Return the entries of a configuration by pixel value, each with all keys and a possible saturation."""
    document, found = read_json(file), dict[int, dict[str, Any]]()
    if not isinstance(document, list) or not all(isinstance(entry, dict) for entry in document):
        raise MechlabError(f"'{file}' is no list of defects; restore the file of the data set.")
    for entry in document:
        missing = [key for key in KEYS if key not in entry]
        if missing:
            raise MechlabError(f"an entry of '{file}' has no '{missing[0]}'; it needs {', '.join(KEYS)}.")
        name, value = entry["defect_name"], entry["pixel_value"]
        for key in ("pixel_value", "saturation_threshold"):
            if isinstance(entry[key], bool) or not isinstance(entry[key], int | float):
                raise MechlabError(f"defect '{name}' of '{file}' has {key} {entry[key]!r}; give a number.")
        if value in found:
            raise MechlabError(
                f"'{file}' gives pixel value {value} to '{found[value]['defect_name']}' and to '{name}'; "
                "give each defect its own."
            )
        try:
            saturation(1, entry["saturation_threshold"], is_relative=bool(entry["relative_saturation"]))
        except MechlabError as fault:
            raise MechlabError(f"defect '{name}' of '{file}': {fault}") from fault
        found[value] = dict(entry)
    return found


def open(root: Path | None) -> AutoVI:
    """Open the folder that holds the object folders; a missing or empty one is a MechlabError."""
    return AutoVI(layout=opened(root, name="autovi", allowed=CLASSES, find_mask=mask_folder))


def mask_folder(image: Path, defect: str) -> Path:
    """Return the folder of an image's masks; one without masks, or of another size, is a MechlabError."""
    folder = image.parents[2] / "ground_truth" / defect / image.stem
    masks = sorted(folder.glob("*.png")) if folder.is_dir() else []
    if not masks:
        raise MechlabError(f"defective image '{image}' has no mask; expected '{folder / '0000.png'}'.")
    for mask in masks:
        if picture_size(mask) != picture_size(image):
            raise MechlabError(
                f"mask '{mask}' has another size than its image '{image}'; give one of its size."
            )
    return folder


def _files(item: Item) -> list[Path]:
    return [] if item.mask is None else sorted(Path(item.mask).glob("*.png"))
