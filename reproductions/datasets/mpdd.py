"""MPDD: six classes of painted metal parts, in MVTec's layout (inventory D3).

Source: Jezek et al., "Deep learning-based defect detection of metal parts", ICUMT 2021.
"""

from pathlib import Path

from reproductions.datasets.layout import LayoutDataset, opened

CLASSES = ("bracket_black", "bracket_brown", "bracket_white", "connector", "metal_plate", "tubes")


def open(root: Path | None) -> LayoutDataset:
    """Open the folder that holds the class folders; a missing or empty one is a MechlabError."""
    return opened(root, name="mpdd", allowed=CLASSES, subsets={"all": CLASSES})
