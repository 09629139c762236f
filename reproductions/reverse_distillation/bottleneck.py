"""The one-class bottleneck: three levels fused on the coarsest grid, then embedded on half of it.

MFF brings each level to the grid and the channels of the coarsest by 3 x 3 convolutions of stride 2, and OCE
is the stage that would follow the teacher's third. Source: Deng & Li, CVPR 2022. Their code also makes a
convolution and a norm that no forward pass uses (8.39 M numbers at a WideResNet-50-2); they are left out.
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reproductions.backbones.pyramid import Maps
from reproductions.reverse_distillation.blocks import blocks, resizer
from reproductions.reverse_distillation.pyramid import Blueprint


class Bottleneck(nn.Module):
    """Multi-scale feature fusion (`fusion`) and one-class embedding (`embedding`)."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        channels, anatomy = blueprint.channels, blueprint.anatomy
        self.fusion = nn.ModuleList(_steps(channels[place:]) for place in range(len(channels) - 1))
        self.embedding = blocks(anatomy, len(channels) * channels[-1], blueprint.embedding,
                                depth=anatomy.depths[3], resizing="halve")  # fmt: skip

    def forward(self, maps: Maps) -> Float[Tensor, "batch embedding row column"]:
        """Return the embedding of a teacher's maps, which come finest first."""
        brought = [steps(values) for steps, values in zip(self.fusion, maps[:-1], strict=True)]
        fused: Tensor = self.embedding(torch.cat([*brought, maps[-1]], dim=1))
        return fused


def _steps(channels: tuple[int, ...]) -> nn.Sequential:
    """Return what brings a level to the coarsest: one halving with norm and ReLU a step."""
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        layers += [*resizer(before, after, resizing="halve"), nn.ReLU()]
    return nn.Sequential(*layers)
