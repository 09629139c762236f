"""Patch features of one width: each place takes its 3 x 3 neighbourhood, then the mean of adjacent channels.

Source: Roth et al., CVPR 2022 (PatchCore): unfold 3 x 3, flatten channel and neighbourhood, adaptive
average pooling to D. Where D divides the channels, every bin holds whole neighbourhoods, so the same
numbers follow from a mean of adjacent channels and a 3 x 3 average, many times cheaper.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def pooled(
    maps: Float[Tensor, "batch channel row column"], dim: int
) -> Float[Tensor, "batch {dim} row column"]:
    """Reduce the 3 x 3 neighbourhoods of a feature map to `dim` channels; zeros lie beyond the border."""
    return _grouped(maps, dim) if maps.shape[1] % dim == 0 else _unfolded(maps, dim)


def _grouped(
    maps: Float[Tensor, "batch channel row column"], dim: int
) -> Float[Tensor, "batch dim row column"]:
    """The cheap way, exact where `dim` divides the number of channels."""
    return functional.avg_pool2d(maps.unflatten(1, (dim, -1)).mean(dim=2), 3, stride=1, padding=1)


def _unfolded(
    maps: Float[Tensor, "batch channel row column"], dim: int
) -> Float[Tensor, "batch dim row column"]:
    """The general way: bins of the flattened (channel, 3, 3) axis, `dim` of them."""
    neighbours = functional.unfold(maps, 3, padding=1)  # (batch, channel * 9, row * column)
    bins = functional.adaptive_avg_pool1d(neighbours.transpose(1, 2), dim)
    return bins.transpose(1, 2).unflatten(2, maps.shape[2:])


def narrowed(
    maps: Float[Tensor, "batch channel row column"], dim: int
) -> Float[Tensor, "batch dim row column"]:
    """Reduce tokens to `dim` channels by the mean of adjacent ones; attention has seen the neighbours."""
    return (
        functional.adaptive_avg_pool1d(maps.flatten(2).transpose(1, 2), dim)
        .transpose(1, 2)
        .unflatten(2, maps.shape[2:])
    )


def averaged(layers: list[Tensor]) -> Float[Tensor, "batch row column dim"]:
    """Bring every layer to the grid of the first (bilinear, corners not aligned) and take the mean."""
    grid = layers[0].shape[2:]
    total = layers[0]
    for maps in layers[1:]:
        if maps.shape[2:] != grid:
            maps = functional.interpolate(maps, size=grid, mode="bilinear", align_corners=False)
        total = total + maps
    return torch.movedim(total / len(layers), 1, -1)
