"""MVTec AD: 15 classes, 5 textures and 10 objects (inventory D1).

Source: Bergmann et al., "MVTec AD", CVPR 2019. Classes that are not on the disk are not listed, and a subset
that needs one is refused.
"""

from pathlib import Path

from reproductions.datasets.layout import LayoutDataset, opened

TEXTURES = ("carpet", "grid", "leather", "tile", "wood")
OBJECTS = (
    "bottle",
    "cable",
    "capsule",
    "hazelnut",
    "metal_nut",
    "pill",
    "screw",
    "toothbrush",
    "transistor",
    "zipper",
)
SUBSETS = {"textures": TEXTURES, "objects": OBJECTS, "all": tuple(sorted(TEXTURES + OBJECTS))}

# Of the notes on MoLE-Flow, by their own results: 004 L5174, L5211, L5248.
ORDERS = {
    "texture-first": TEXTURES + OBJECTS,
    "hard-first": (
        "screw",
        "toothbrush",
        "capsule",
        "cable",
        "pill",
        "grid",
        "zipper",
        "transistor",
        "carpet",
        "wood",
        "hazelnut",
        "metal_nut",
        "leather",
        "tile",
        "bottle",
    ),
    "easy-first": (
        "bottle",
        "leather",
        "metal_nut",
        "tile",
        "hazelnut",
        "carpet",
        "grid",
        "cable",
        "pill",
        "zipper",
        "transistor",
        "wood",
        "capsule",
        "toothbrush",
        "screw",
    ),
}


def open(root: Path | None) -> LayoutDataset:
    """Open the folder that holds the class folders; a missing or empty one is a MechlabError."""
    return opened(root, name="mvtec", allowed=TEXTURES + OBJECTS, subsets=SUBSETS, orders=ORDERS)
