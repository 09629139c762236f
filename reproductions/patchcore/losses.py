"""Losses under which gradients of a PatchCore can be recorded: nothing is trained by them."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from mechlab.errors import MechlabError

PatchLoss = Callable[[Float[Tensor, "batch row column"]], Float[Tensor, ""]]


def loss_by_name(name: str) -> PatchLoss:
    """Return the loss "mean", the mean distance of an image's patches; another name is a MechlabError."""
    if name != "mean":
        raise MechlabError(f"no loss of patchcore is written '{name}'; use mean, or record no gradient.")
    return lambda scores: scores.mean()
