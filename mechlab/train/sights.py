"""The same images at the size at which tasks are compared, and at that of each task.

A task may see its images at a size of its own. Then a router compares tasks by what all of them see at the
run's size, the expert that it chooses sees the image at its own, and the map comes back to one grid.
Source: notes on MoLE-Flow, L2670 (M42: resolution by task).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mechlab.specs import Split
from mechlab.train.inputs import Inputs

Values = Float[np.ndarray, "item _ _ dim"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sights:
    """Images as a router and as each task sees them; nothing is extracted before it is asked for."""

    count: int  # of images
    compared: Callable[[], Values]  # at the size at which tasks are compared
    of_task: Callable[[int], Values]
    grid: tuple[int, int] | None = None  # rows, columns of kept maps; None: that on which any task scores

    @classmethod
    def alike(cls, features: Float[np.ndarray, "item row column dim"]) -> "Sights":
        """Return images that all tasks see alike."""
        return cls(count=len(features), compared=lambda: features, of_task=lambda _: features)


def sights_of(inputs: Inputs, class_name: str, split: Split, *, run: Inputs | None = None) -> Sights:
    """Return the images of a class; their maps are kept on the grid of its own task.

    `run` tells who looks at them, where that is not whose they are: another data set has no task here, and
    keeps its maps on the grid of the run's size.
    """
    run = inputs if run is None else run
    own = inputs.features(class_name, split).values
    if not run.sizes:
        return Sights.alike(own)
    rows, columns = own.shape[1:3]
    return Sights(
        count=len(own),
        compared=lambda: inputs.features(class_name, split, size=run.image_size).values,
        of_task=lambda task: inputs.features(class_name, split, size=run.size(task)).values,
        grid=(rows, columns),
    )


def sights_of_files(inputs: Inputs, files: tuple[Path, ...]) -> Sights:
    """Return image files, whose task nobody knows, as the router and the tasks of a run see them."""
    read = import_module("reproductions.datasets.pictures").read_image
    extraction = import_module("reproductions.backbones.extraction")

    @cache
    def at(size: int) -> Values:
        pictures = np.stack([read(file, size) for file in files])
        found: Values = extraction.extracted(pictures, inputs.extractor_at(size))
        return found

    return Sights(
        count=len(files), compared=lambda: at(inputs.image_size), of_task=lambda task: at(inputs.size(task))
    )
