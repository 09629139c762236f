"""Images turned upright before the flow: a network tells an angle, and the grid of features is turned by it.

Source: notes 004 L3628 (spatial transformer in rotation mode, hidden 128, regulariser 0.01, identity at the
start). The notes turn the image; here the frozen features are turned, so that the cache serves every epoch
and the angle gets its gradient without the backbone. Chosen here: one network a task, and scores are turned
back onto the image.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reproductions.moleflow.initialisation import empty_linear, generator, start_uniform, start_zero

Grid = Float[Tensor, "batch row column dim"]


class NoAlignment(nn.Module):
    """Features as they are."""

    def angles(self, x: Grid) -> Float[Tensor, " batch"] | None:
        """Return nothing: no image is turned."""
        return None


class Alignment(nn.Module):
    """Tells how far each image is to be turned, radians counter-clockwise; 0 at the start."""

    def __init__(self, dim: int, *, hidden: int, task: int, seed: int) -> None:
        super().__init__()
        self.patch = empty_linear(dim, hidden)
        self.image = empty_linear(4 * hidden, hidden)
        self.turn = empty_linear(hidden, 1)
        for name, linear in (("patch", self.patch), ("image", self.image)):
            start_uniform(linear.weight, linear.bias, draw=generator(seed, task=task, name=f"align.{name}"))
        start_zero(self.turn.weight, self.turn.bias)

    def angles(self, x: Grid) -> Float[Tensor, " batch"]:
        """Return the angle of each image from the mean and the first moments of its patches' codes."""
        codes = torch.relu(self.patch(x))
        down, right = (torch.linspace(-1, 1, count, device=x.device, dtype=x.dtype) for count in x.shape[1:3])
        moments = [codes, codes * down[:, None, None], codes * right[:, None]]
        moments.append(moments[1] * right[:, None])
        image = torch.cat([moment.mean(dim=(1, 2)) for moment in moments], dim=-1)
        return math.pi * torch.tanh(self.turn(torch.relu(self.image(image)))).squeeze(-1)


def rotation(angles: Float[Tensor, " batch"]) -> Float[Tensor, "batch 2 2"]:
    """Return the orthogonal matrices that turn (row, column) offsets by angles, radians."""
    cosine, sine = angles.cos(), angles.sin()
    return torch.stack([torch.stack([cosine, sine], -1), torch.stack([-sine, cosine], -1)], -2)


def turned(x: Grid, angles: Float[Tensor, " batch"]) -> Grid:
    """Return grids turned counter-clockwise about their middle, bilinear; beyond the border its edge goes on.

    Angle 0 gives x to the bit. A matrix product, so that its gradient is the same whatever the device.
    """
    rows, columns = x.shape[1:3]
    middle = torch.tensor([(rows - 1) / 2, (columns - 1) / 2], device=x.device, dtype=x.dtype)
    places = torch.cartesian_prod(
        *(torch.arange(count, device=x.device, dtype=x.dtype) for count in x.shape[1:3])
    )
    # Each place takes what stood where the inverse turn leads.
    source = (places - middle) @ rotation(angles).transpose(1, 2) + middle  # batch, patch, 2
    down = _weights(source[..., 0], rows)
    right = _weights(source[..., 1], columns)
    weights = (down[..., :, None] * right[..., None, :]).flatten(2)  # batch, patch, patch
    return (weights @ x.flatten(1, 2)).view(x.shape)


def _weights(source: Float[Tensor, "batch patch"], count: int) -> Float[Tensor, "batch patch {count}"]:
    """Return the share of each place of an axis in a place between them; it sums to 1."""
    inside = source.clamp(0, count - 1)
    low = inside.detach().floor()
    share = (inside - low)[..., None]
    steps = torch.arange(count, device=source.device, dtype=source.dtype)
    high = (low + 1).clamp(max=count - 1)
    return (steps == low[..., None]) * (1 - share) + (steps == high[..., None]) * share
