"""Features of a task's normals as the loop takes them: a batch at a time, from where they are kept.

Read and not mapped, since the pages of a map that were looked at count as the process's own, and not copied,
since a task's features are a hundred times as large as a batch.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from mechlab.errors import MechlabError


@runtime_checkable
class FeatureRows(Protocol):
    """Images' features that are taken by number: an array, or `StoredRows`."""

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def __getitem__(self, items: Int[np.ndarray, " item"], /) -> Float[np.ndarray, "item row column dim"]:
        """Return a copy of the features of some images."""
        ...


class StoredRows:
    """Features that stay in the files of the cache."""

    def __init__(self, parts: Sequence[tuple[np.memmap, Int[np.ndarray, " kept"]]]) -> None:
        """Take the chosen rows of mapped arrays, one after the other; ValueError unless all have one form."""
        forms = {(values.shape[1:], values.dtype) for values, _ in parts}
        if len(forms) != 1:
            raise ValueError(f"rows of {len(forms)} forms are not one set of features: {forms}")
        ((self._shape, self._dtype),) = forms
        self._places: list[tuple[Path, int]] = []  # file and offset in bytes of each image
        for values, kept in parts:
            path, size = Path(str(values.filename)), values[:1].nbytes
            self._places += [(path, values.offset + int(index) * size) for index in kept]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._places)

    def __getitem__(self, items: Int[np.ndarray, " item"]) -> Float[np.ndarray, "item row column dim"]:
        """Return the features of some images.

        Raises IndexError for one that is not there, and MechlabError where their file is gone or shorter.
        """
        found = np.empty((len(items), *self._shape), dtype=self._dtype)
        chosen = [self._places[item] for item in items]
        for path in {path for path, _ in chosen}:
            with _opened(path) as file:
                for row, (home, offset) in zip(found, chosen, strict=True):
                    if home == path:
                        file.seek(offset)
                        _fill(row, file)
        return found


def _opened(path: Path) -> io.FileIO:
    try:
        return io.FileIO(path)
    except OSError as fault:
        raise _lost(path) from fault


def _fill(row: Float[np.ndarray, "row column dim"], file: io.FileIO) -> None:
    if file.readinto(row.reshape(-1).view(np.uint8).data) != row.nbytes:
        raise _lost(Path(str(file.name)))


def _lost(path: Path) -> MechlabError:
    return MechlabError(
        f"the features in '{path}' were removed or cut during the training; run the command again, and they "
        "are made anew."
    )
