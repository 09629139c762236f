"""Your own images in MVTec's layout, any class names (inventory D6)."""

from pathlib import Path

from reproductions.datasets.layout import LayoutDataset, opened


def open(root: Path | None) -> LayoutDataset:
    """Open a folder of classes; a missing or empty one is a MechlabError."""
    return opened(root, name="folder")
