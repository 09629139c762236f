"""Is a folder of images whole? Counts beside the published ones, and every problem, not only the first.

Looked for: files that cannot be read, defective images without a mask or with an empty one, masks without an
image, and images that stand in training and test alike.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mechlab.errors import MechlabError
from mechlab.specs import Item
from mechlab.systems import Dataset
from mechlab.systems import dataset as opened
from reproductions.datasets.pictures import SUFFIXES
from reproductions.datasets.published import PUBLISHED

SIZE = 64  # pixels to which images are read
KINDS = ("train", "test_normal", "test_defective")


def check(root: Path, name: str, *, report: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Return the counts of each class, the published ones where there are any, and all problems as sentences.

    Raises:
        MechlabError: a folder that is no such data set at all.
    """
    found = opened(name, root)
    published = PUBLISHED.get(name, {})
    classes, problems = {}, []
    for class_name in found.classes():
        report(f"{name}: {class_name}")
        counts, own = _class(found, class_name)
        own += _orphans(root / class_name)
        if counts is not None and class_name in published:
            own += _differences(class_name, counts, published[class_name])
        problems += own
        classes[class_name] = {"counts": counts, "problems": len(own),
                               "published": published.get(class_name)}  # fmt: skip
    absent = sorted(set(published) - set(classes))
    return {"data": name, "root": str(root), "classes": classes, "absent": absent, "problems": problems}


def _class(found: Dataset, class_name: str) -> tuple[tuple[int, ...] | None, list[str]]:
    try:
        items = found.items(class_name)
    except MechlabError as fault:
        return None, [str(fault)]
    counts = (
        sum(item.split == "train" for item in items),
        sum(item.split == "test" and item.label == 0 for item in items),
        sum(item.split == "test" and item.label == 1 for item in items),
    )
    problems = [problem for item in items for problem in _unreadable(found, item)]
    return counts, problems + list(_leaks(items))


def _unreadable(found: Dataset, item: Item) -> Iterator[str]:
    try:
        found.image(item, SIZE)
    except MechlabError as fault:
        yield str(fault)
    if not item.label:
        return
    try:
        if not found.mask(item, SIZE).any():
            yield f"the mask of defective image '{item.image}' shows no defect at {SIZE} pixels; look at it."
    except MechlabError as fault:
        yield str(fault)


def _leaks(items: tuple[Item, ...]) -> Iterator[str]:
    trained = {item.sha256: item.image for item in items if item.split == "train"}
    for item in items:
        if item.split == "test" and item.sha256 in trained:
            yield f"test image '{item.image}' is training image '{trained[item.sha256]}'; remove one of them."


def _orphans(folder: Path) -> list[str]:
    """Return masks below ground_truth whose image is not below test."""
    found = []
    for mask in sorted(folder.glob("ground_truth/*/*")):
        stem = mask.name if mask.is_dir() else mask.stem.removesuffix("_mask")
        place = folder / "test" / mask.parent.name
        if not any(
            (place / f"{stem}{suffix}").is_file() for suffix in (*SUFFIXES, *map(str.upper, SUFFIXES))
        ):
            found.append(
                f"mask '{mask}' has no image; expected '{place / stem}.png' or another kind of image."
            )
    return found


def _differences(class_name: str, counts: tuple[int, ...], published: tuple[int, ...]) -> list[str]:
    return [
        f"class '{class_name}' has {own} images of {kind.replace('_', ' ')}, and {there} were published; "
        "complete the folder."
        for kind, own, there in zip(KINDS, counts, published, strict=True)
        if own != there
    ]
