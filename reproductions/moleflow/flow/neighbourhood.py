"""What a patch's neighbourhood says: a learned depthwise convolution, local attention, or a fixed mean.

Source: notes 004 L178 (convolution or attention, learned in the first task), L259 (fixed mean, gate 0.3). The
notes give no form to the attention: here it is one head over the patches of the kernel.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from reproductions.moleflow.depthwise import depthwise
from reproductions.moleflow.initialisation import BASE, empty_linear, generator, start_uniform

SHARE = 0.3  # of the mean in the fixed form
REDUCTION = 4  # channels over those in which patches are compared


def windows(
    x: Float[Tensor, "batch row column channel"], *, kernel: int
) -> Float[Tensor, "batch row column place channel"]:
    """Return the kernel x kernel patches around each patch; zero outside the image.

    An even kernel reaches one patch further to the left and up, as in `depthwise`.
    """
    reach, (rows, columns) = kernel // 2, x.shape[1:3]
    padded = functional.pad(x, (0, 0, reach, reach, reach, reach))
    shifted = [
        padded[:, down : down + rows, across : across + columns]
        for down in range(kernel)
        for across in range(kernel)
    ]
    return torch.stack(shifted, dim=3)


class MeanNeighbourhood(nn.Module):
    """0.7 x + 0.3 · mean of the neighbourhood: nothing to learn, so it means the same in every task."""

    def __init__(self, *, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(
        self, x: Float[Tensor, "batch row column channel"]
    ) -> Float[Tensor, "batch row column channel"]:
        """Return each patch with a share of its neighbourhood."""
        return torch.lerp(x, windows(x, kernel=self.kernel).mean(dim=3), SHARE)


class ConvolvedNeighbourhood(nn.Module):
    """A depthwise convolution that starts as the mean."""

    def __init__(self, channels: int, *, kernel: int) -> None:
        super().__init__()
        self.convolution = depthwise(channels, kernel)
        nn.init.constant_(self.convolution.weight, 1 / kernel**2)
        nn.init.zeros_(self.convolution.bias)

    def forward(
        self, x: Float[Tensor, "batch row column channel"]
    ) -> Float[Tensor, "batch row column channel"]:
        """Return each patch's neighbourhood."""
        return self.convolution(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class AttendedNeighbourhood(nn.Module):
    """softmax(q kᵀ / √d) v over the patches of the kernel that lie in the image."""

    def __init__(self, channels: int, *, kernel: int, name: str, seed: int) -> None:
        super().__init__()
        self.kernel, width = kernel, max(1, channels // REDUCTION)
        self.query, self.value = empty_linear(channels, width), empty_linear(channels, channels)
        self.key = nn.utils.skip_init(nn.Linear, channels, width, bias=False)  # softmax would not see one
        for part, linear in self.named_children():
            assert isinstance(linear, nn.Linear)
            draw = generator(seed, task=BASE, name=f"{name}.neighbourhood.{part}")
            start_uniform(linear.weight, linear.bias, draw=draw)

    def forward(
        self, x: Float[Tensor, "batch row column channel"]
    ) -> Float[Tensor, "batch row column channel"]:
        """Return what each patch gathers from its neighbourhood."""
        keys, values = (windows(part(x), kernel=self.kernel) for part in (self.key, self.value))
        inside = windows(torch.ones_like(x[..., :1]), kernel=self.kernel)[..., 0] > 0
        query = self.query(x)[..., None, :]  # batch row column 1 width
        scores = (query * keys).sum(dim=-1) / math.sqrt(query.shape[-1])
        weights = torch.softmax(scores.masked_fill(~inside, -torch.inf), dim=-1)
        return (weights[..., None] * values).sum(dim=3)


Neighbourhood = MeanNeighbourhood | ConvolvedNeighbourhood | AttendedNeighbourhood


def neighbourhood_of(kind: str, channels: int, *, kernel: int, name: str, seed: int) -> Neighbourhood:
    """Return the neighbourhood "mean", "conv" or "attention"."""
    if kind == "mean":
        return MeanNeighbourhood(kernel=kernel)
    if kind == "conv":
        return ConvolvedNeighbourhood(channels, kernel=kernel)
    return AttendedNeighbourhood(channels, kernel=kernel, name=name, seed=seed)
