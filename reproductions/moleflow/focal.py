"""Focal weights: patches of high NLL count more. As sketched, and in a form that can work.

The sketch takes exp(-NLL) for a probability. A density is none: at the NLL of real features, hundreds of
nats, the weight is 1 to the last bit and training is that of the plain NLL (the trajectory guard says so).
Below 0 the "probability" exceeds 1: the weight is NaN for a gamma that is no whole number, negative for an
odd one, and soon infinite. The relative form measures each patch against its own image, so that neither size
nor sign of the NLL matters. Source: notes 004 L487 (sketch, gamma 1 to 2, clamp 20); ours (relative).
"""

import torch
from jaxtyping import Float
from torch import Tensor

CLAMP = 20.0  # nats, of the sketch


def published_focal(
    nll: Float[Tensor, "batch row column"], *, gamma: float
) -> Float[Tensor, "batch row column"]:
    """Return (1 - exp(-min(NLL, 20)))^gamma · NLL of each patch; gamma 0 is the NLL."""
    weight = (1 - torch.exp(-nll.clamp(max=CLAMP))).pow(gamma)
    return weight * nll


def relative_weights(
    nll: Float[Tensor, "batch row column"], *, gamma: float
) -> Float[Tensor, "batch row column"]:
    """Return (1 - exp(-e))^gamma, mean 1 in each image; e = NLL above the image's least, over its mean.

    They carry no gradient, and do not change when the NLL is shifted or stretched. An image whose patches are
    equally hard has equal weights.
    """
    patches = nll.detach().flatten(1)
    excess = patches - patches.amin(dim=1, keepdim=True)
    typical = excess.mean(dim=1, keepdim=True)
    weights = (1 - torch.exp(-excess / typical)).pow(gamma)
    weights = weights / weights.mean(dim=1, keepdim=True)
    return torch.where(typical > 0, weights, 1.0).view(nll.shape)


def relative_focal(
    nll: Float[Tensor, "batch row column"], *, gamma: float
) -> Float[Tensor, "batch row column"]:
    """Return weight · NLL of each patch; gamma 0 is the NLL."""
    return relative_weights(nll, gamma=gamma) * nll
