"""What a batch is trained on: every term is a mean over patches, in nats a patch.

How the versions reduced it to a number stands in `reduction.py`, focal weights in `focal.py`.
Source: notes 004 L2367 (tail), L4810 (log-det), L306 (center); facts 1.3.
"""

import math
from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from mechlab.errors import MechlabError

PatchLoss = Callable[[Float[Tensor, "batch row column"]], Float[Tensor, ""]]


def patch_nll(
    latent: Float[Tensor, "batch row column dim"], log_det: Float[Tensor, "batch row column"]
) -> Float[Tensor, "batch row column"]:
    """Return -log p of each patch under a standard normal latent, in nats."""
    return 0.5 * (latent.square().sum(dim=-1) + latent.shape[-1] * math.log(2 * math.pi)) - log_det


def mean_loss(nll: Float[Tensor, "batch row column"]) -> Float[Tensor, ""]:
    """Return the mean over all patches."""
    return nll.mean()


def tail_size(patches: int, *, ratio: float) -> int:
    """Return k = max(1, floor(patches · ratio)) of one image."""
    return max(1, math.floor(patches * ratio))


def tail_loss(nll: Float[Tensor, "batch row column"], *, weight: float, ratio: float) -> Float[Tensor, ""]:
    """Return (1 - weight) · mean + weight · mean over the k worst patches of each image."""
    patches = nll.flatten(1)
    worst = patches.topk(tail_size(patches.shape[1], ratio=ratio), dim=1).values
    return (1 - weight) * patches.mean() + weight * worst.mean()


def log_det_penalty(log_det: Float[Tensor, "batch row column"]) -> Float[Tensor, ""]:
    """Return the mean over patches of the squared log-det."""
    return log_det.square().mean()


def center_loss(latent: Float[Tensor, "batch row column dim"]) -> Float[Tensor, ""]:
    """Return the mean over patches of the squared length of the latent.

    The centre is fixed at zero. The NLL with w times it is, up to a constant, the NLL under a prior of
    variance 1 / (1 + 2 w): no new direction, a narrower prior (notes 004 L306, L342).
    """
    return latent.square().sum(dim=-1).mean()


def loss_by_name(name: str) -> PatchLoss:
    """Return the loss "mean" or "tail:<weight>:<ratio>", under which gradients can be recorded.

    Raises:
        MechlabError: a name of another form, or numbers outside their range.
    """
    kind, *numbers = name.split(":")
    if kind == "mean" and not numbers:
        return mean_loss
    try:
        weight, ratio = (float(number) for number in numbers)
    except ValueError:
        weight = ratio = math.nan
    if kind == "tail" and 0 <= weight <= 1 and 0 < ratio <= 1:
        return lambda nll: tail_loss(nll, weight=weight, ratio=ratio)
    raise MechlabError(
        f"no loss is written '{name}'; use mean, or tail:<weight>:<ratio> with a weight in [0, 1] "
        "and a ratio in (0, 1], e.g. tail:0.7:0.02."
    )
