"""What the student must mirror: channels and blocks of a teacher's three levels.

The teacher's maps come as a packed pyramid (`reproductions.backbones.pyramid`); `pyramid.unpacked(batch)`
gives them back, finest first.
"""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from mechlab.errors import MechlabError
from reproductions.backbones.pyramid import Anatomy, Maps, Pyramid

LEVELS = 3
SHRINKING = 2  # of the grid from level to level, and into the embedding
CHOSEN = {
    "basic": Anatomy(block="basic", depths=(2, 2, 2, 2), base_width=64),  # ResNet-18
    "bottleneck": Anatomy(block="bottleneck", depths=(3, 4, 6, 3), base_width=64),  # ResNet-50
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """What bottleneck and student are built of."""

    anatomy: Anatomy
    names: tuple[str, str, str]  # of the levels, finest first
    channels: tuple[int, int, int]  # of the levels, finest first

    @property
    def embedding(self) -> int:
        """Channels of the embedding: twice those of the coarsest level, on half its grid."""
        return 2 * self.channels[-1]

    @classmethod
    def of(cls, pyramid: Pyramid, *, block: Literal["teacher", "basic", "bottleneck"]) -> "Blueprint":
        """Return the blueprint of a teacher's mirror.

        Raises:
            MechlabError: other than three levels each twice as fine as the next, a coarsest grid that cannot
                be halved, a teacher of unknown blocks, or channels that no bottleneck block gives.
        """
        factors = [level.factor for level in pyramid.levels]
        if factors != [SHRINKING**2, SHRINKING, 1]:
            have = ", ".join(level.name for level in pyramid.levels)
            raise MechlabError(
                f"reverse distillation needs three levels, each twice as fine as the next, and got {have}; "
                "leave --layers out, or name those of stride 4, 8 and 16."
            )
        if any(side % SHRINKING or side < 2 * SHRINKING for side in pyramid.grid):
            stride = pyramid.image_size // pyramid.grid[0] * SHRINKING
            near = max(2, pyramid.image_size // stride) * stride
            raise MechlabError(
                f"the embedding has half the grid of the coarsest level, {pyramid.grid[0]} x "
                f"{pyramid.grid[1]}, and at least 2 x 2 places; give --image-size {near} or {near + stride}."
            )
        anatomy = pyramid.anatomy if block == "teacher" else CHOSEN[block]
        if anatomy is None:
            raise MechlabError(
                f"'{pyramid.backbone}' has no basic or bottleneck blocks that a student could mirror; give "
                "--set block=basic or --set block=bottleneck."
            )
        channels = tuple(level.channels for level in pyramid.levels)
        if anatomy.block == "bottleneck" and any(count % 4 for count in channels):
            raise MechlabError(
                f"bottleneck blocks give multiples of 4 channels, and '{pyramid.backbone}' has {channels}; "
                "give --set block=basic."
            )
        first, second, third = pyramid.levels
        return cls(anatomy=anatomy, names=(first.name, second.name, third.name),
                   channels=(first.channels, second.channels, third.channels))  # fmt: skip


class TeacherMaps(nn.Module):
    """The teacher's maps from a packed pyramid: one child a level, so that each can be recorded."""

    def __init__(self, pyramid: Pyramid) -> None:
        super().__init__()
        self.pyramid = pyramid
        for level in pyramid.levels:
            self.add_module(_path(level.name), nn.Identity())

    def forward(self, cells: Float[Tensor, "batch row column dim"]) -> Maps:
        """Return the maps, finest first."""
        maps = self.pyramid.unpacked(cells)
        return tuple(place(values) for place, values in zip(self.children(), maps, strict=True))


def _path(name: str) -> str:
    """Return the name of a level as that of a module, which holds no dot."""
    return name.replace(".", "_")


def level_paths(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of levels as those of modules, which hold no dot."""
    return tuple(_path(name) for name in names)
