"""The deep invertible adapter: a small coupling flow of the task's own, after the shared flow.

Identity at the start. Source: notes 004 L1014 on, facts 1.2 (log s = clamp · tanh(s / clamp), halves
alternate, no permutation). The notes split at floor(D / 2) on both sides, which fails for odd D; here the
sizes follow D.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reproductions.moleflow.flow.coupling import Mapped, affine, affine_inverse
from reproductions.moleflow.initialisation import empty_linear, generator, start_uniform, start_zero


def network(passive: int, active: int, *, hidden: int, task: int, name: str, seed: int) -> nn.Sequential:
    """Return Linear, ReLU, Linear, ReLU, Linear with a last layer of zeros."""
    layers: list[nn.Module] = []
    for number, (fan_in, fan_out) in enumerate([(passive, hidden), (hidden, hidden), (hidden, active)]):
        linear = empty_linear(fan_in, fan_out)
        start_uniform(linear.weight, linear.bias, draw=generator(seed, task=task, name=f"{name}.{number}"))
        layers += [linear, nn.ReLU()]
    last = layers[-2]
    assert isinstance(last, nn.Linear)
    start_zero(last.weight, last.bias)
    return nn.Sequential(*layers[:-1])


class DIABlock(nn.Module):
    """One coupling step: `flipped` decides which part of the channels is transformed."""

    def __init__(
        self, dim: int, *, flipped: bool, hidden: int, clamp: float, task: int, name: str, seed: int
    ) -> None:
        super().__init__()
        self.flipped, self.clamp = flipped, clamp
        self.split = dim // 2
        passive, active = (dim - self.split, self.split) if flipped else (self.split, dim - self.split)
        shape = {"hidden": hidden, "task": task, "seed": seed}
        self.log_scale = network(passive, active, name=f"{name}.log_scale", **shape)
        self.shift = network(passive, active, name=f"{name}.shift", **shape)

    def forward(self, x: Float[Tensor, "batch row column dim"]) -> Mapped:
        """Map towards the latent side."""
        passive, active = self._parts(x)
        logarithm = self._log_scale(passive)
        moved = affine(active, logarithm, self.shift(passive))
        return Mapped(self._whole(passive, moved), logarithm.sum(dim=-1))

    def inverse(self, y: Float[Tensor, "batch row column dim"]) -> Float[Tensor, "batch row column dim"]:
        """Map the latent side back."""
        passive, active = self._parts(y)
        return self._whole(passive, affine_inverse(active, self._log_scale(passive), self.shift(passive)))

    def _log_scale(
        self, passive: Float[Tensor, "batch row column passive"]
    ) -> Float[Tensor, "batch row column active"]:
        return self.clamp * (self.log_scale(passive) / self.clamp).tanh_()

    def _parts(self, x: Float[Tensor, "batch row column dim"]) -> tuple[Tensor, Tensor]:
        first, second = x[..., : self.split], x[..., self.split :]
        return (second, first) if self.flipped else (first, second)

    def _whole(self, passive: Tensor, active: Tensor) -> Float[Tensor, "batch row column dim"]:
        return torch.cat([active, passive] if self.flipped else [passive, active], dim=-1)


def adapter(dim: int, *, blocks: int, hidden: int, clamp: float, task: int, seed: int) -> nn.ModuleList:
    """Return the task's blocks, in the order in which they are applied."""
    return nn.ModuleList(
        DIABlock(dim, flipped=n % 2 == 1, hidden=hidden, clamp=clamp, task=task, name=f"dia.{n}", seed=seed)
        for n in range(blocks)
    )
