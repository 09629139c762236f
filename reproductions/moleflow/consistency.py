"""High scores that stand alone count less: noise scatters, defects do not.

s' = mean + w · (s - mean) for patches above their image's mean, w in (least, 1) growing with the neighbours'
share of the excess there; the others stay. Temperature and least weight stand behind the loss: nothing
reaches them in the notes, the margin loss does here. Source: notes 004 L2709 (kernel 3, no formula), L2987
(kernels 3, 5 and 7). Chosen here: the excess over the image's mean in place of the score, so that a shift of
all scores shifts the result and a score below 0 does not turn the weight round.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from reproductions.moleflow.initialisation import empty_linear, start_zero

Scores = Float[Tensor, "batch row column"]
TINY = 1e-6  # nats, so that a patch without excess among its like does not divide by 0


class NoCalibration(nn.Module):
    """Scores as they are."""

    def forward(self, scores: Scores) -> Scores:
        """Return the scores."""
        return scores


class LocalConsistency(nn.Module):
    """The weight of a patch's excess at one or several kernels; several are blended by the image.

    Each kernel has a temperature (1 at the start) and a least weight (one half at the start). The blend is a
    softmax of a Linear of the image's mean weights, uniform at the start.
    """

    def __init__(self, kernels: tuple[int, ...]) -> None:
        super().__init__()
        self.kernels = kernels
        self.log_temperature = nn.Parameter(torch.zeros(len(kernels)))
        self.raw_least = nn.Parameter(torch.zeros(len(kernels)))
        self.blend = empty_linear(len(kernels), len(kernels)) if len(kernels) > 1 else None
        if self.blend is not None:
            start_zero(self.blend.weight, self.blend.bias)

    def weights(self, excess: Scores) -> Float[Tensor, "batch row column kernel"]:
        """Return the weight at each kernel of patches with an excess of 0 or more."""
        found = []
        for index, kernel in enumerate(self.kernels):
            around = functional.avg_pool2d(
                excess[:, None], kernel, stride=1, padding=kernel // 2, count_include_pad=False
            )[:, 0]
            own_share = functional.avg_pool2d(
                torch.ones_like(excess)[:, None], kernel, stride=1, padding=kernel // 2, divisor_override=1
            )[:, 0].reciprocal()
            neighbours = ((around - own_share * excess) / (1 - own_share)).clamp_min(0)
            share = neighbours / (neighbours + excess + TINY)  # 0 alone, one half among equals
            least = torch.sigmoid(self.raw_least[index])
            found.append(least + (1 - least) * -torch.expm1(-share / self.log_temperature[index].exp()))
        return torch.stack(found, dim=-1)

    def forward(self, scores: Scores) -> Scores:
        """Return the scores with isolated peaks lowered."""
        middle = scores.mean(dim=(1, 2), keepdim=True)
        excess = (scores - middle).clamp_min(0)
        weights = self.weights(excess)
        if self.blend is None:
            return scores - (1 - weights[..., 0]) * excess
        shares = self.blend(weights.mean(dim=(1, 2))).softmax(dim=-1)[:, None, None]
        return scores - (1 - (weights * shares).sum(dim=-1)) * excess
