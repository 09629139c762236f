"""Scores of the four quarter turns of a grid of features, averaged: four times the work.

"four" turns the features before the system tells them their place, so that each patch is scored at four
places. "four-placed" turns them after that, as the notes sketch it: a flow that sees each patch alone then
gives every patch the score that it had, and only what mixes neighbours is changed. Without a position both
are the same, and turning an image by a quarter turns its scores. Source: notes 004 L3091 to L3099.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from mechlab.errors import MechlabError
from mechlab.train.stage import Trainable

ORIENTATIONS = ("one", "four", "four-placed")
QUARTERS = range(4)


@runtime_checkable
class Placed(Protocol):
    """A system that tells features their place before it does anything else with them."""

    def turned_scores(
        self, batch: Float[Tensor, "batch row column dim"], *, task: int, quarters: int
    ) -> Float[Tensor, "batch row column"]:
        """Return the scores of features that are placed and then turned, on the turned grid."""
        ...


def oriented_scores(
    system: Trainable, batch: Float[Tensor, "batch row column dim"], *, task: int, orientations: str
) -> Float[Tensor, "batch height width"]:
    """Return patch scores, averaged over the orientations and turned back onto the image.

    Raises:
        MechlabError: a grid that is not square, or a system that cannot turn its features.
    """
    if orientations == "one":
        return system.patch_scores(batch, task=task)
    if hasattr(system, "pyramid"):
        raise MechlabError(
            f"orientations={orientations} turns a grid of patches, and the cells of a pyramid hold several "
            "places each, which would stay as they are; set orientations=one."
        )
    if batch.shape[1] != batch.shape[2]:
        raise MechlabError(
            f"orientations={orientations} turns a grid of {batch.shape[1]}x{batch.shape[2]} patches by a "
            "quarter, which needs a square one; set orientations=one."
        )
    if orientations == "four":
        turned = [system.patch_scores(torch.rot90(batch, k, (1, 2)), task=task) for k in QUARTERS]
    elif isinstance(system, Placed):
        turned = [system.turned_scores(batch, task=task, quarters=k) for k in QUARTERS]
    else:
        raise MechlabError(
            f"orientations=four-placed turns features that hold their place, and {type(system).__name__} "
            "gives them none; set orientations=four or one."
        )
    return torch.stack(
        [torch.rot90(scores, -k, (1, 2)) for k, scores in zip(QUARTERS, turned, strict=True)]
    ).mean(0)
