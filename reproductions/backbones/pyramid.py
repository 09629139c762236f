"""The maps of several levels of a backbone in one array, bit for bit: a pyramid packed on its coarsest grid.

A level whose grid is f times as fine has f x f places in each cell of the coarsest one; they become channels,
in the order of `torch.nn.functional.pixel_unshuffle`. So the cache and the loop carry a pyramid as they carry
patch features. Nothing is pooled or averaged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn
from torch.nn import functional

from mechlab.errors import MechlabError
from reproductions.backbones.network import Network

STRIDES = (4, 8, 16)  # pixels, of the levels that are taken unless others are asked for
Maps = tuple[Float[Tensor, "batch _ _ _"], ...]  # finest first, each on its own grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """What a residual network is built of, as far as a mirror of it needs to know."""

    block: Literal["basic", "bottleneck"]
    depths: tuple[int, ...]  # blocks of each stage, shallow to deep
    base_width: int  # channels of a bottleneck's inner convolution at 64 planes: 64, or 128 where wide


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One level of a pyramid."""

    name: str
    channels: int
    factor: int  # places along each side of a cell of the coarsest grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Pyramid:
    """The levels of a backbone, finest first, and the grid of the coarsest."""

    backbone: str
    image_size: int  # pixels, square
    levels: tuple[Level, ...]
    grid: tuple[int, int]  # rows and columns
    anatomy: Anatomy | None = None  # None: no plain residual network

    @property
    def dim(self) -> int:
        """Channels of a cell."""
        return sum(level.channels * level.factor**2 for level in self.levels)

    def packed(self, maps: Sequence[Tensor]) -> Float[Tensor, "batch row column dim"]:
        """Return the maps (batch, channel, row, column) of all levels as one array of cells.

        Raises:
            MechlabError: a map of another grid than the strides of the backbone tell.
        """
        for level, values in zip(self.levels, maps, strict=True):
            wanted = (level.channels, self.grid[0] * level.factor, self.grid[1] * level.factor)
            if tuple(values.shape[1:]) != wanted:
                raise MechlabError(
                    f"level '{level.name}' of '{self.backbone}' gives {tuple(values.shape[1:])} (channels, "
                    f"rows, columns), not {wanted}, for images of {self.image_size} pixels; give another "
                    "--image-size or --backbone."
                )
        cells = [functional.pixel_unshuffle(values, level.factor)
                 for level, values in zip(self.levels, maps, strict=True)]  # fmt: skip
        return torch.cat(cells, dim=1).movedim(1, -1)

    def unpacked(self, cells: Float[Tensor, "batch row column dim"]) -> Maps:
        """Return the maps of all levels, finest first: the inverse of `packed`."""
        sizes = [level.channels * level.factor**2 for level in self.levels]
        parts = cells.movedim(-1, 1).split(sizes, dim=1)  # batch, channels of a cell, row, column
        return tuple(functional.pixel_shuffle(part, level.factor)
                     for level, part in zip(self.levels, parts, strict=True))  # fmt: skip

    def channel_means(self, means: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch channel"]:
        """Return the mean of each channel of each level over its places, from the means of cells."""
        sizes = [level.channels * level.factor**2 for level in self.levels]
        parts = means.split(sizes, dim=1)
        return torch.cat([part.unflatten(1, (level.channels, -1)).mean(dim=2)
                          for level, part in zip(self.levels, parts, strict=True)], dim=1)  # fmt: skip


def pyramid_of(network: Network, indices: tuple[int, ...], *, image_size: int) -> Pyramid:
    """Return the pyramid of some levels, told by the network's strides.

    Raises:
        MechlabError: levels that share a grid, or whose grids do not lie inside one another.
    """
    strides = [network.strides[index] for index in indices]
    coarsest = max(strides)
    names = ", ".join(network.names[index] for index in indices)
    if network.has_tokens or len(set(strides)) < len(strides) or any(coarsest % one for one in strides):
        raise MechlabError(
            f"levels {names} of '{network.name}' have strides {strides}, which make no pyramid; give levels "
            "whose strides divide the last, e.g. those of a ResNet: --layers layer1,layer2,layer3."
        )
    if image_size % coarsest:
        near = max(1, image_size // coarsest) * coarsest
        raise MechlabError(
            f"images of {image_size} pixels are no whole number of cells of {coarsest} pixels; give "
            f"--image-size {near} or {near + coarsest}."
        )
    return Pyramid(
        backbone=network.name,
        image_size=image_size,
        levels=tuple(
            Level(name=network.names[index], channels=network.channels[index],
                  factor=coarsest // network.strides[index])
            for index in indices
        ),
        grid=(image_size // coarsest, image_size // coarsest),
        anatomy=anatomy_of(network.module),
    )  # fmt: skip


def pyramid_levels(network: Network, layers: tuple[str, ...] | None) -> tuple[int, ...]:
    """Return the numbers of the levels asked for; None: those of stride 4, 8 and 16.

    Raises:
        MechlabError: an unknown name, or a backbone without those strides.
    """
    if layers is not None:
        return network.chosen(layers)
    found = tuple(index for index, stride in enumerate(network.strides) if stride in STRIDES)
    if tuple(network.strides[index] for index in found) != STRIDES:
        raise MechlabError(
            f"'{network.name}' has strides {network.strides}, not one level each of stride 4, 8 and 16; name "
            "its levels with --layers, or take a ResNet."
        )
    return found


def anatomy_of(module: nn.Module) -> Anatomy | None:
    """Return what a residual network of timm is built of; None for one of another kind."""
    if not isinstance(module, ResNet):
        return None
    stages: list[Any] = [module.layer1, module.layer2, module.layer3, module.layer4]
    blocks = [block for stage in stages for block in stage]
    kinds = {type(block) for block in blocks}
    if kinds not in ({BasicBlock}, {Bottleneck}):
        return None
    first = blocks[0]
    is_basic = kinds == {BasicBlock}
    width = 64 if is_basic else first.conv2.out_channels * 4 * 64 // first.conv3.out_channels
    if not is_basic and first.conv2.groups != 1:
        return None  # grouped convolutions: another block than the two that are mirrored
    return Anatomy(block="basic" if is_basic else "bottleneck",
                   depths=tuple(len(stage) for stage in stages), base_width=width)  # fmt: skip
