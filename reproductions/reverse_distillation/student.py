"""The student: a mirrored residual network that rebuilds the teacher's maps from the embedding.

Its first stage gives the coarsest map and has as many blocks as the teacher's first; the published decoders
keep the order of depths (3, 4, 6) and do not mirror it. Source: Deng & Li, CVPR 2022 (code).
"""

from jaxtyping import Float
from torch import Tensor, nn

from reproductions.backbones.pyramid import Maps
from reproductions.reverse_distillation.blocks import blocks
from reproductions.reverse_distillation.pyramid import Blueprint, level_paths


class Student(nn.Module):
    """Three stages, coarsest first, each named for the level that it rebuilds."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        before, anatomy = blueprint.embedding, blueprint.anatomy
        levels = zip(level_paths(blueprint.names)[::-1], blueprint.channels[::-1], anatomy.depths[:3],
                     strict=True)  # fmt: skip
        for name, channels, depth in levels:
            self.add_module(name, blocks(anatomy, before, channels, depth=depth, resizing="double"))
            before = channels

    def forward(self, embedding: Float[Tensor, "batch embedding row column"]) -> Maps:
        """Return the rebuilt maps, finest first."""
        maps: list[Tensor] = []
        found = embedding
        for stage in self.children():
            found = stage(found)
            maps.append(found)
        return tuple(reversed(maps))
