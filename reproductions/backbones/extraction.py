"""From images to features, masks, thumbnails and grey statistics, one batch after the other.

Every batch has the same size (the last is filled up with black), so that the features of an image do
not depend on which images stand beside it. The next batch is read while the network works.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, UInt8

from mechlab.specs import Item
from mechlab.systems import Dataset
from reproductions.backbones.timm_features import Extractor
from reproductions.datasets.pictures import resized

BATCH = 8  # images
THUMBNAIL = 64  # pixels
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What is kept of a few images."""

    values: Float32[np.ndarray, "item row column dim"]
    masks: Bool[np.ndarray, "item height width"]
    thumbnails: UInt8[np.ndarray, "item side side 3"]
    statistics: Float64[np.ndarray, "item 2"]  # mean and deviation of the grey image, 0..255


def batches(dataset: Dataset, items: Sequence[Item], extractor: Extractor) -> Iterator[Batch]:
    """Yield the items in order, at most `BATCH` at a time."""
    size = extractor.origin.image_size
    chunks = [items[start : start + BATCH] for start in range(0, len(items), BATCH)]

    def read(chunk: Sequence[Item]) -> tuple[np.ndarray, np.ndarray]:
        images = np.stack([dataset.image(item, size) for item in chunk])
        return images, np.stack([dataset.mask(item, size) for item in chunk])

    with ThreadPoolExecutor(max_workers=1) as reader:
        ahead = reader.submit(read, chunks[0])
        for number in range(len(chunks)):
            images, masks = ahead.result()
            if number + 1 < len(chunks):
                ahead = reader.submit(read, chunks[number + 1])
            grey = images @ LUMA
            yield Batch(
                values=extracted(images, extractor),
                masks=masks,
                thumbnails=np.stack([resized(image, THUMBNAIL) for image in images]),
                statistics=np.stack([grey.mean(axis=(1, 2)), grey.std(axis=(1, 2))], axis=1),
            )


def extracted(
    images: UInt8[np.ndarray, "item height width 3"], extractor: Extractor
) -> Float32[np.ndarray, "item row column dim"]:
    """Return the features of at most `BATCH` images, computed on the extractor's device."""
    full = np.zeros((BATCH, *images.shape[1:]), dtype=np.uint8)
    full[: len(images)] = images
    with torch.inference_mode():
        pixels = torch.from_numpy(full).to(extractor.mean.device).permute(0, 3, 1, 2).float() / 255
        return np.ascontiguousarray(extractor(pixels)[: len(images)].float().cpu().numpy())
