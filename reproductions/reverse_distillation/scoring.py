"""The score map: at each pixel the sum over levels of the cosine distance between teacher and student.

Each level is brought to the image by bilinear interpolation with aligned corners, as published; Gaussian
smoothing and the maximum over the image are the evaluation's. Unit: 1 - cosine, from 0 to 2 a level.
Source: Deng & Li, CVPR 2022 (code).
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from reproductions.backbones.pyramid import Maps
from reproductions.reverse_distillation.losses import pixel_distances


def score_map(teacher: Maps, student: Maps, *, image_size: int) -> Float[Tensor, "batch height width"]:
    """Return the map of each image, `image_size` pixels along each side."""
    total = 0
    for wanted, found in zip(teacher, student, strict=True):
        distances = pixel_distances(wanted, found)[:, None]
        total = total + functional.interpolate(
            distances, size=(image_size, image_size), mode="bilinear", align_corners=True
        )
    assert isinstance(total, torch.Tensor)
    return total[:, 0]
