"""Frozen features for a run: manifests become FeatureSpecs, FeatureSpecs become memory-mapped arrays.

A task may see its images at a size of its own; whatever compares tasks sees all of them at the run's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from mechlab import systems
from mechlab.errors import MechlabError
from mechlab.runs.overrides import own_sizes
from mechlab.runs.request import TrainRequest
from mechlab.runs.stream import tasks_of
from mechlab.specs import FeatureSpec, Item, Split
from mechlab.systems import Dataset
from mechlab.train.heap import give_back
from mechlab.train.rows import FeatureRows, StoredRows


@runtime_checkable
class Features(Protocol):
    """Frozen features of one class and split, as the shared cache gives them."""

    spec: FeatureSpec
    values: Float[np.ndarray, "item row column dim"]
    masks: Bool[np.ndarray, "item height width"] | None  # of the test split
    thumbnails: UInt8[np.ndarray, "item side side 3"]
    mean: Float[np.ndarray, " item"]
    std: Float[np.ndarray, " item"]
    items: tuple[Item, ...]


@dataclass
class Inputs:
    """Everything that a run reads: the data set, the extractor, and features on demand."""

    dataset: Dataset
    tasks: tuple[tuple[str, ...], ...]
    extractor: Any  # reproductions.backbones: a frozen module with grid, layers, weights_id
    cache: Path
    image_size: int
    dim: int
    backbone: str
    holdout: float  # fraction of the training normals that is never trained on
    sizes: Mapping[int, int] = field(default_factory=dict)  # pixels of tasks that see another size
    others: Mapping[int, Any] = field(default_factory=dict)  # the extractor of each of these sizes
    loaded: dict[tuple[str, Split, int], Features] = field(default_factory=dict)  # by size, pixels

    @classmethod
    def open(cls, request: TrainRequest, *, image_size: int, dim: int, holdout: float) -> "Inputs":
        """Open the data set and the backbone that a request names."""
        dataset = systems.dataset(request.data, request.root)
        tasks = tasks_of(request, dataset)
        sizes = own_sizes(request.overrides, system=request.system, tasks=tasks, image_size=image_size)
        build = import_module("reproductions.backbones.timm_features").build
        made = {
            size: build(request.backbone, weights=request.weights, layers=request.layers, image_size=size,
                        dim=dim, layout=systems.layout(request.system))
            for size in (image_size, *sizes.values())
        }  # fmt: skip
        extractor = made.pop(image_size)
        return cls(dataset, tasks, extractor, request.cache, image_size, extractor.origin.dim,
                   request.backbone, holdout, sizes, made)  # fmt: skip

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches at the run's size."""
        return _grid(self.extractor)

    @property
    def grids(self) -> dict[int, tuple[int, int]]:
        """Rows and columns of patches of each task that sees another size."""
        return {task: _grid(self.others[size]) for task, size in self.sizes.items()}

    @property
    def compared(self) -> "Inputs":
        """The same inputs as a router sees them: every task at the run's size."""
        return replace(self, sizes={}) if self.sizes else self

    def size(self, task: int) -> int:
        """Return the pixels at which a task sees its images."""
        return self.sizes.get(task, self.image_size)

    def size_of(self, class_name: str) -> int:
        """Return the pixels at which the task of a class sees its images."""
        return next((size for task, size in self.sizes.items() if class_name in self.tasks[task]),
                    self.image_size)  # fmt: skip

    def extractor_at(self, size: int) -> Any:  # noqa: ANN401 - as `extractor`
        """Return the extractor of images of the run's size, or of a task's own."""
        return self.extractor if size == self.image_size else self.others[size]

    def items(self, class_name: str, split: Split) -> tuple[Item, ...]:
        """Return the images of a class and split; a split without images is a sentence."""
        found = tuple(item for item in self.dataset.items(class_name) if item.split == split)
        if not found:
            raise MechlabError(
                f"class '{class_name}' of {self.dataset.name} has no {split} images; add some."
            )
        return found

    def spec(self, class_name: str, split: Split) -> FeatureSpec:
        """Return the FeatureSpec of a class and split; its features need not be there yet."""
        feature_spec = import_module("reproductions.backbones.cache").feature_spec
        origin = self.extractor_at(self.size_of(class_name)).origin
        found = feature_spec(self.dataset.name, self.items(class_name, split), origin)
        assert isinstance(found, FeatureSpec)
        return found

    def features(self, class_name: str, split: Split, *, size: int | None = None) -> Features:
        """Return the features of a class and split, computed once for all runs.

        At the size of the class's task, or at that of another task or the run, pixels.
        """
        key = (class_name, split, self.size_of(class_name) if size is None else size)
        if key not in self.loaded:
            compute = import_module("reproductions.backbones.cache").features
            items, extractor = self.items(class_name, split), self.extractor_at(key[2])
            self.loaded[key] = compute(self.dataset, items, extractor, root=self.cache / "features")
            give_back()  # what making them took
        return self.loaded[key]

    def compute(self) -> None:
        """Make the features of every class and split that are not in the cache yet."""
        splits: tuple[Split, ...] = ("train", "test")
        for names in self.tasks:
            for name in names:
                for split in splits:
                    self.features(name, split)
                    self.compared.features(name, split)

    def fitting(self, task: int) -> Float[np.ndarray, "item row column dim"]:
        """Return the features of the normals that a task is trained on."""
        parts = []
        for name in self.tasks[task]:
            features = self.features(name, "train")
            parts.append(np.asarray(features.values[kept_and_held(features.items, fraction=self.holdout)[0]]))
            self.let_go(name)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def rows(self, task: int) -> FeatureRows:
        """Return `fitting` as it lies in the cache: read a batch at a time."""
        parts = []
        for name in self.tasks[task]:
            features = self.features(name, "train")
            assert isinstance(features.values, np.memmap), "the cache gives mapped arrays"
            parts.append((features.values, kept_and_held(features.items, fraction=self.holdout)[0]))
            self.let_go(name)
        return StoredRows(parts)

    def fitting_items(self, task: int) -> tuple[Item, ...]:
        """Return the images behind `fitting`, in the same order."""
        items: list[Item] = []
        for name in self.tasks[task]:
            features = self.features(name, "train")
            items += [
                features.items[index] for index in kept_and_held(features.items, fraction=self.holdout)[0]
            ]
        return tuple(items)

    def held_out(self, class_name: str) -> Float[np.ndarray, "item row column dim"]:
        """Return the features of the normals that no training sees."""
        features = self.features(class_name, "train")
        held = np.asarray(features.values[kept_and_held(features.items, fraction=self.holdout)[1]])
        self.let_go(class_name)
        return held

    def let_go(self, class_name: str) -> None:
        """Close the mapped features of a class, whose pages count as this process's; they open again."""
        for key in [key for key in self.loaded if key[0] == class_name]:
            del self.loaded[key]
        give_back()

    def statistics(self, class_name: str, split: Split = "test") -> dict[str, Float[np.ndarray, " item"]]:
        """Return statistics of the raw images: grey mean, deviation, distance to the mean training image.

        The distance is the root mean square over a 64-pixel thumbnail, in grey levels of 0 to 255.
        """
        features, train = self.features(class_name, split), self.features(class_name, "train")
        centre = train.thumbnails.astype(np.float64).mean(axis=0)
        distance = np.sqrt(((features.thumbnails.astype(np.float64) - centre) ** 2).mean(axis=(1, 2, 3)))
        return {
            "mean": np.asarray(features.mean, dtype=np.float64),
            "std": np.asarray(features.std, dtype=np.float64),
            "distance": distance,
        }


def _grid(extractor: Any) -> tuple[int, int]:  # noqa: ANN401 - as `Inputs.extractor`
    rows, columns = extractor.grid
    return int(rows), int(columns)


def kept_and_held(
    items: Sequence[Item], *, fraction: float
) -> tuple[Int[np.ndarray, " kept"], Int[np.ndarray, " held"]]:
    """Return the indices that are trained on and those held out; chosen by hash, not by order."""
    if not 0 <= fraction < 1:
        raise MechlabError(
            f"holdout {fraction} is not in [0, 1); give the fraction of normals to hold out, e.g. 0.1."
        )
    count = round(len(items) * fraction)
    ranked = sorted(range(len(items)), key=lambda index: items[index].sha256)
    return np.array(sorted(ranked[count:]), dtype=np.int64), np.array(sorted(ranked[:count]), dtype=np.int64)
