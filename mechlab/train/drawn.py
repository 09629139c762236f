"""Batches whose images are turned or damaged anew each epoch.

A draw depends on seed, task, epoch and the image's number in the task alone: not on batches, ranks or what
ran before, so a resumed training sees what an unbroken one sees. Turned images are not those of the cache:
the backbone sees them again in each epoch, and nothing of them is written to disk.
"""

from importlib import import_module
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

from mechlab.train.inputs import Inputs
from mechlab.train.view import Drawing, View

_SALT = 0x76696577  # apart from the draws of the data order


class DrawnBatches:
    """The batches of one task, drawn; `features` are those of its normals as the cache has them."""

    def __init__(
        self,
        inputs: Inputs,
        features: Float[np.ndarray, "item row column dim"],
        *,
        task: int,
        seed: int,
        drawing: Drawing,
        number: int | None = None,
    ) -> None:
        """Bind the task's images; each is read when it is first drawn and then kept.

        `number` is what draws depend on beside the seed; None: that of the task.
        """
        self.inputs, self.features, self.drawing = inputs, features, drawing
        self.items, self.size = inputs.fitting_items(task), inputs.size(task)
        self.seed, self.number = seed, task if number is None else number
        self.images: dict[int, UInt8[np.ndarray, "side side 3"]] = {}
        self.deviation = np.zeros(features.shape[-1])  # of each channel, for what is drawn in its units
        if drawing.damage == "jitter":
            self.deviation = features.std(axis=(0, 1, 2))

    def batch(
        self, items: Int[np.ndarray, " item"], *, epoch: int, device: torch.device
    ) -> tuple[Float[Tensor, "item row column dim"], View]:
        """Return the features of some images in an epoch, and what was drawn for them."""
        draws = [self._draw(int(item), epoch) for item in items]
        limit = self.drawing.rotation
        angles = np.array([draw.uniform(-limit, limit) for draw in draws], dtype=np.float32)
        images = self._images(items, angles)
        values = self.features[items] if limit == 0 else self._extracted(images)
        damaged, mask = self._damaged(values, images, draws)
        view = View(
            angles=torch.from_numpy(angles).to(device),
            damaged=None if damaged is None else torch.from_numpy(damaged).to(device),
            mask=None if mask is None else mask.to(device),
        )
        return torch.from_numpy(values).to(device), view

    def _draw(self, item: int, epoch: int) -> np.random.Generator:
        return np.random.default_rng([_SALT, self.seed, self.number, epoch, item])

    def _images(
        self, items: Int[np.ndarray, " item"], angles: np.ndarray
    ) -> list[UInt8[np.ndarray, "_ _ 3"]]:
        """Return the images, turned; none where no image is needed."""
        if self.drawing.rotation == 0 and self.drawing.damage != "cutpaste":
            return []
        return [
            _augmentation().turned(self._image(int(item)), float(angle))
            for item, angle in zip(items, angles, strict=True)
        ]

    def _image(self, item: int) -> UInt8[np.ndarray, "side side 3"]:
        if item not in self.images:
            self.images[item] = self.inputs.dataset.image(self.items[item], self.size)
        return self.images[item]

    def _extracted(
        self, images: list[UInt8[np.ndarray, "_ _ 3"]]
    ) -> Float[np.ndarray, "item row column dim"]:
        if not images:
            return self.features[:0]
        extraction, extractor = _extraction(), self.inputs.extractor_at(self.size)
        size = extraction.BATCH
        return np.concatenate(
            [
                extraction.extracted(np.stack(images[start : start + size]), extractor)
                for start in range(0, len(images), size)
            ]
        )

    def _damaged(
        self,
        values: Float[np.ndarray, "item row column dim"],
        images: list[UInt8[np.ndarray, "_ _ 3"]],
        draws: list[np.random.Generator],
    ) -> tuple[Float[np.ndarray, "item row column dim"] | None, Bool[Tensor, "item row column"] | None]:
        if self.drawing.damage == "none":
            return None, None
        grid = values.shape[1:3]
        if self.drawing.damage == "cutpaste":
            pairs = [_augmentation().cut_and_pasted(*pair) for pair in zip(images, draws, strict=True)]
            masks = [on_grid(mask, grid) for _, mask in pairs]
            return self._extracted([image for image, _ in pairs]), _stacked(masks, grid)
        masks = [torch.from_numpy(_augmentation().rectangle(*grid, draw)) for draw in draws]
        found = np.array(values)
        for index, (mask, draw) in enumerate(zip(masks, draws, strict=True)):
            noise = draw.normal(size=found.shape[1:]) * self.deviation * self.drawing.jitter
            found[index] += (noise * mask.numpy()[..., None]).astype(found.dtype)
        return found, _stacked(masks, grid)


def on_grid(mask: Bool[np.ndarray, "height width"], grid: tuple[int, ...]) -> Bool[Tensor, "row column"]:
    """Return which patches of a grid have a pixel of the mask."""
    pixels = torch.from_numpy(mask).float()[None, None]
    return functional.adaptive_max_pool2d(pixels, grid)[0, 0] > 0


def _stacked(masks: list[Tensor], grid: tuple[int, ...]) -> Bool[Tensor, "item row column"]:
    return torch.stack(masks) if masks else torch.zeros(0, *grid, dtype=torch.bool)


def _augmentation() -> Any:  # noqa: ANN401 - reproductions, found by name
    return import_module("reproductions.datasets.augmentation")


def _extraction() -> Any:  # noqa: ANN401 - likewise
    return import_module("reproductions.backbones.extraction")
