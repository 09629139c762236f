"""Is a folder of images whole? Counts beside the published ones, and every problem, not only the first.

Looked for: files that cannot be read, defective images without a mask or with an empty one, masks without an
image, and images that stand in training and test alike.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from mechlab.errors import MechlabError
from mechlab.specs import Item
from mechlab.systems import Dataset
from mechlab.systems import dataset as opened
from reproductions.datasets.pictures import SUFFIXES
from reproductions.datasets.published import CLASSES, TOTALS, Counts, kinds

SIZE = 64  # pixels to which images are read


@runtime_checkable
class Verified(Protocol):
    """A data set that describes its defects in a file of its own."""

    def verify(self, item: Item) -> None:
        """Look up each defect of an image; MechlabError for one that is not described."""
        ...


def check(root: Path, name: str, *, report: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Return the counts of each class, the published ones where there are any, and all problems as sentences.

    Raises:
        MechlabError: a folder that is no such data set at all.
    """
    found = opened(name, root)
    published = CLASSES.get(name, {})
    classes: dict[str, dict[str, Any]] = {}
    problems = []
    for class_name in found.classes():
        report(f"{name}: {class_name}")
        counts, own = _class(found, class_name)
        own += _orphans(root / class_name)
        if counts is not None and class_name in published:
            own += _differences(f"class '{class_name}'", kinds(*counts), published[class_name])
        problems += own
        classes[class_name] = {"counts": counts, "problems": len(own),
                               "published": published.get(class_name)}  # fmt: skip
    expected = {*published, *getattr(found, "subsets", {}).get("all", ())}
    absent = sorted(expected - set(classes))
    every = [row["counts"] for row in classes.values()]
    if name in TOTALS and not absent and None not in every:
        whole = kinds(*(sum(counts) for counts in zip(*every, strict=True)))
        problems += _differences(f"data set '{name}'", whole, TOTALS[name])
    return {"data": name, "root": str(root), "classes": classes, "absent": absent, "problems": problems}


def _class(found: Dataset, class_name: str) -> tuple[tuple[int, int, int] | None, list[str]]:
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
    if any(item.label and item.mask is None for item in items):
        problems.append(
            f"class '{class_name}' has no masks, so its pixel metrics are absent; add ground_truth."
        )
    return counts, problems + list(_leaks(items))


def _unreadable(found: Dataset, item: Item) -> Iterator[str]:
    try:
        found.image(item, SIZE)
    except MechlabError as fault:
        yield str(fault)
    if not item.label or item.mask is None:
        return
    try:
        if not found.mask(item, SIZE).any():
            yield f"the mask of defective image '{item.image}' shows no defect at {SIZE} pixels; look at it."
        if isinstance(found, Verified):
            found.verify(item)
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


def _differences(what: str, counts: Counts, published: Counts) -> list[str]:
    return [
        f"{what} has {counts[kind]} images of {kind}, and {there} were published; complete the folder."
        for kind, there in published.items()
        if counts[kind] != there
    ]
