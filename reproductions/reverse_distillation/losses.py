"""How far the student's maps are from the teacher's: cosine distances, summed over the levels.

`flat` takes each map of an image as one vector, as the published code does; `pixel` takes the channels at
each place, as the text of the paper does. Published figures are those of the first. Neither sees the length
of what it compares. Unit: 1 - cosine, from 0 to 2 a level. Source: Deng & Li, CVPR 2022.
"""

from collections.abc import Callable
from typing import Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mechlab.errors import MechlabError
from reproductions.backbones.pyramid import Maps

Form = Literal["flat", "pixel"]
MapLoss = Callable[[Float[Tensor, "batch height width"]], Float[Tensor, ""]]


def level_losses(teacher: Maps, student: Maps, *, form: Form) -> tuple[Float[Tensor, ""], ...]:
    """Return the mean cosine distance of each level, finest first: over images, or images and places."""
    distance = flat_distance if form == "flat" else pixel_distances
    return tuple(distance(wanted, found).mean() for wanted, found in zip(teacher, student, strict=True))


def flat_distance(
    wanted: Float[Tensor, "batch channel row column"], found: Float[Tensor, "batch channel row column"]
) -> Float[Tensor, " batch"]:
    """Return 1 - cosine of the whole maps of each image."""
    return 1 - functional.cosine_similarity(wanted.flatten(1), found.flatten(1), dim=1)


def pixel_distances(
    wanted: Float[Tensor, "batch channel row column"], found: Float[Tensor, "batch channel row column"]
) -> Float[Tensor, "batch row column"]:
    """Return 1 - cosine over the channels at each place."""
    return 1 - functional.cosine_similarity(wanted, found, dim=1)


def loss_by_name(name: str) -> MapLoss:
    """Return the loss "mean" of score maps, under which gradients can be recorded.

    Raises:
        MechlabError: another name.
    """
    if name != "mean":
        raise MechlabError(
            f"no loss of rd is written '{name}'; use mean, the mean of the score map, or record the training "
            "itself with mechlab train --record."
        )
    return lambda scores: scores.mean()
