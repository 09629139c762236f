"""MVTec's folder layout: `<class>/train/good`, `<class>/test/<defect>`, `<class>/ground_truth/<defect>`.

Source: Bergmann et al., CVPR 2019 (MVTec AD). An image is known by the SHA-256 of its file, so that a
renamed copy is the same image.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from mechlab.errors import MechlabError, unknown
from mechlab.files import sha256_file
from mechlab.specs import Item, Split
from reproductions.datasets.pictures import SUFFIXES, picture_size, read_image, read_mask

GOOD = "good"
FindMask = Callable[[Path, str], Path]  # (image, defect) -> its mask, or the folder of its masks


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutDataset:
    """The classes below one root folder."""

    name: str
    root: Path
    present: tuple[str, ...]  # class folders, sorted
    subsets: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False)  # for `--tasks`
    orders: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False)  # for `--order`
    find_mask: FindMask | None = field(default=None, repr=False, compare=False)  # None: a file an image
    known: dict[str, tuple[Item, ...]] = field(default_factory=dict, repr=False, compare=False)  # hashed once

    def classes(self) -> tuple[str, ...]:
        """Return the classes that are on the disk, sorted."""
        return self.present

    def items(self, class_name: str) -> tuple[Item, ...]:
        """Return the images of a class: train/good, then test, each sorted by folder and file name.

        A class without any `ground_truth` has no masks, and so no pixel metrics.
        Raises MechlabError for an unknown class, a folder that lacks train/good or test images, a
        defective image whose mask is not among the others and a mask of another size than its image.
        """
        if class_name not in self.present:
            raise unknown(f"class in '{self.root}'", class_name, self.present)
        if class_name not in self.known:
            self.known[class_name] = self._indexed(class_name)
        return self.known[class_name]

    def _indexed(self, class_name: str) -> tuple[Item, ...]:
        folder = self.root / class_name
        train = _files(folder / "train" / GOOD)
        if not train:
            raise MechlabError(
                f"class '{class_name}' has no training images: '{folder / 'train' / GOOD}' is missing "
                "or empty; put normal images (jpg, png or bmp) there."
            )
        test = [(group.name, path) for group in _folders(folder / "test") for path in _files(group)]
        if not test:
            raise MechlabError(
                f"class '{class_name}' has no test images: '{folder / 'test'}' is missing or empty; "
                "put images into test/good and test/<defect>."
            )
        return (
            *(self._item(path, class_name=class_name, split="train", defect=GOOD) for path in train),
            *(self._item(path, class_name=class_name, split="test", defect=defect) for defect, path in test),
        )

    def _item(self, path: Path, *, class_name: str, split: Split, defect: str) -> Item:
        find, normal = self.find_mask or mask_file, defect == GOOD
        has_masks = self.find_mask is not None or (self.root / class_name / "ground_truth").is_dir()
        return Item(
            sha256=sha256_file(path),
            class_name=class_name,
            split=split,
            label=0 if normal else 1,
            defect=defect,
            image=str(path),
            mask=None if normal or not has_masks else str(find(path, defect)),
        )

    def image(self, item: Item, size: int) -> UInt8[np.ndarray, "height width 3"]:
        """Return one RGB image, resized to size x size pixels."""
        return read_image(Path(item.image), size)

    def mask(self, item: Item, size: int) -> Bool[np.ndarray, "height width"]:
        """Return the defect mask, resized like the image; all False for a normal image, and without masks."""
        if item.mask is None:
            return np.zeros((size, size), dtype=bool)
        return read_mask(Path(item.mask), size)


def opened(
    root: Path | None,
    *,
    name: str,
    allowed: tuple[str, ...] | None = None,
    subsets: Mapping[str, tuple[str, ...]] | None = None,
    orders: Mapping[str, tuple[str, ...]] | None = None,
    find_mask: FindMask | None = None,
) -> LayoutDataset:
    """Open a root folder; `allowed` restricts the classes, else every folder with train or test."""
    if root is None:
        raise MechlabError(f"data set '{name}' needs a folder; give it with --root DIR.")
    if not root.is_dir():
        raise MechlabError(
            f"data folder '{root}' does not exist; give the folder of the classes with --root."
        )
    if (root / "train").is_dir() and not (root / "train" / "train").is_dir():
        raise MechlabError(f"'{root}' is one class, not a folder of classes; give --root '{root.parent}'.")
    found = tuple(
        folder.name
        for folder in _folders(root)
        if ((folder / "train").is_dir() or (folder / "test").is_dir())
        and (allowed is None or folder.name in allowed)
    )
    if not found:
        kind = "class" if allowed is None else f"class of {name} ({', '.join(allowed)})"
        raise MechlabError(
            f"'{root}' holds no {kind}; a class is a folder with train/good, test/<defect> "
            "and ground_truth/<defect>."
        )
    return LayoutDataset(name=name, root=root, present=found, subsets=subsets or {}, orders=orders or {},
                         find_mask=find_mask)  # fmt: skip


def mask_file(path: Path, defect: str) -> Path:
    """Find the mask with the stem of an image, with or without `_mask`, and compare the sizes."""
    folder = path.parents[2] / "ground_truth" / defect
    for stem in (f"{path.stem}_mask", path.stem):
        for suffix in (".png", ".bmp", ".PNG", ".BMP"):
            mask = folder / f"{stem}{suffix}"
            if mask.is_file():
                if picture_size(mask) != picture_size(path):
                    raise MechlabError(
                        f"mask '{mask}' is {_pixels(mask)} pixels but its image '{path}' is {_pixels(path)}; "
                        "give a mask of the size of the image."
                    )
                return mask
    raise MechlabError(
        f"defective image '{path}' has no mask; expected '{folder / f'{path.stem}_mask.png'}' "
        f"or '{folder / f'{path.stem}.png'}'."
    )


def _pixels(path: Path) -> str:
    width, height = picture_size(path)
    return f"{width} x {height}"


def _visible(folder: Path) -> Iterator[Path]:
    try:
        if folder.is_dir():
            yield from sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except PermissionError as fault:
        raise MechlabError(f"folder '{folder}' may not be read; change its permissions.") from fault


def _folders(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if path.is_dir()]


def _files(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if path.suffix.lower() in SUFFIXES and path.is_file()]
