"""Residual blocks that keep, halve or double a grid: those of He et al. 2016, and their mirror.

Where a block doubles, the convolution that would halve is a transposed one of 2 x 2 with stride 2, and so is
the shortcut's. Source: Deng & Li, CVPR 2022 (code).
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reproductions.backbones.pyramid import Anatomy

EXPANSION = 4  # channels of a bottleneck block over its planes
PLANES = 64  # at which `base_width` is counted
Resizing = Literal["keep", "halve", "double"]


class Block(nn.Module):
    """relu(main(x) + shortcut(x))."""

    def __init__(self, main: nn.Sequential, shortcut: nn.Module) -> None:
        super().__init__()
        self.main, self.shortcut = main, shortcut

    def forward(self, x: Float[Tensor, "batch before _ _"]) -> Float[Tensor, "batch after _ _"]:
        """Return the block's map."""
        return torch.relu(self.main(x) + self.shortcut(x))


def block(anatomy: Anatomy, before: int, after: int, *, resizing: Resizing = "keep") -> Block:
    """Return one block from `before` to `after` channels."""
    if anatomy.block == "basic":
        main = nn.Sequential(*resizer(before, after, resizing=resizing), nn.ReLU(), *resizer(after, after))
    else:
        inner = after // EXPANSION * anatomy.base_width // PLANES
        main = nn.Sequential(
            *pointwise(before, inner), nn.ReLU(),
            *resizer(inner, inner, resizing=resizing), nn.ReLU(),
            *pointwise(inner, after),
        )  # fmt: skip
    return Block(main, _shortcut(before, after, resizing=resizing))


def blocks(anatomy: Anatomy, before: int, after: int, *, depth: int, resizing: Resizing) -> nn.Sequential:
    """Return a stage: its first block resizes, the others keep."""
    first = block(anatomy, before, after, resizing=resizing)
    return nn.Sequential(first, *(block(anatomy, after, after) for _ in range(depth - 1)))


def resizer(before: int, after: int, *, resizing: Resizing = "keep") -> tuple[nn.Module, nn.Module]:
    """Return a convolution that keeps or halves (3 x 3) or doubles (2 x 2, transposed), and its norm."""
    if resizing == "double":
        return nn.ConvTranspose2d(before, after, 2, stride=2, bias=False), nn.BatchNorm2d(after)
    stride = 2 if resizing == "halve" else 1
    return nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(after)


def pointwise(before: int, after: int, *, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    """Return a 1 x 1 convolution and its norm."""
    return nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after)


def _shortcut(before: int, after: int, *, resizing: Resizing) -> nn.Module:
    if resizing == "double":
        return nn.Sequential(*resizer(before, after, resizing="double"))
    if resizing == "halve":
        return nn.Sequential(*pointwise(before, after, stride=2))
    return nn.Identity()


def start(module: nn.Module) -> None:
    """Initialise as the published code does: Kaiming by fan-out, for plain convolutions alone.

    There the test for convolutions misses transposed ones, which keep torch's own start; norms start at 1, 0.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
