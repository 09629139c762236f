"""The deep invertible adapter: a small coupling flow of the task's own, after the shared flow.

Identity at the start. Source: notes 004 L1014 on, facts 1.2 (log s = clamp · tanh(s / clamp), halves
alternate, no permutation). The notes split at floor(D / 2) on both sides, which fails for odd D; here the
sizes follow D.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mechlab.specs import Precision
from reproductions.moleflow.flow.affine import Affine, affine_step
from reproductions.moleflow.flow.coupling import Mapped
from reproductions.moleflow.flow.precise import precise
from reproductions.moleflow.initialisation import generator, start_uniform, start_zero


class PatchLinear(nn.Linear):
    """A Linear in one product; of channels that are a part of an image, torch's own makes two tensors."""

    def forward(self, input: Float[Tensor, "*patch fan_in"]) -> Float[Tensor, "*patch fan_out"]:
        """Apply weight and bias."""
        rows = torch.addmm(self.bias, input.flatten(0, -2), self.weight.T)
        return rows.view(*input.shape[:-1], -1)


def network(passive: int, active: int, *, hidden: int, task: int, name: str, seed: int) -> nn.Sequential:
    """Return Linear, ReLU, Linear, ReLU, Linear with a last layer of zeros."""
    layers: list[nn.Module] = []
    for number, (fan_in, fan_out) in enumerate([(passive, hidden), (hidden, hidden), (hidden, active)]):
        linear = nn.utils.skip_init(PatchLinear, fan_in, fan_out)
        start_uniform(linear.weight, linear.bias, draw=generator(seed, task=task, name=f"{name}.{number}"))
        layers += [linear, nn.ReLU()]
    last = layers[-2]
    assert isinstance(last, nn.Linear)
    start_zero(last.weight, last.bias)
    return nn.Sequential(*layers[:-1])


class DIABlock(nn.Module):
    """One coupling step: `flipped` decides which part of the channels is transformed."""

    def __init__(
        self,
        dim: int,
        *,
        flipped: bool,
        hidden: int,
        clamp: float,
        task: int,
        name: str,
        seed: int,
        precision: Precision = "float32",
    ) -> None:
        super().__init__()
        self.flipped, self.precision = flipped, precision
        start, stop = (0, dim // 2) if flipped else (dim // 2, dim)
        self.step = Affine(start=start, stop=stop, bound=clamp, gain=1 / clamp, damping=1.0)
        active = stop - start
        passive = dim - active
        shape = {"hidden": hidden, "task": task, "seed": seed}
        self.log_scale = network(passive, active, name=f"{name}.log_scale", **shape)
        self.shift = network(passive, active, name=f"{name}.shift", **shape)

    def forward(self, x: Float[Tensor, "batch row column dim"]) -> Mapped:
        """Map towards the latent side."""
        return Mapped(*affine_step(x, *self._coefficients(x), self.step))

    def inverse(self, y: Float[Tensor, "batch row column dim"]) -> Float[Tensor, "batch row column dim"]:
        """Map the latent side back."""
        return self.step.inverse(y, *self._coefficients(y))

    @precise
    def _coefficients(self, x: Float[Tensor, "batch row column dim"]) -> tuple[Tensor, Tensor]:
        """Return raw log-scale and shift of each patch."""
        passive = x[..., self.step.stop :] if self.flipped else x[..., : self.step.start]
        return self.log_scale(passive), self.shift(passive)


def adapter(
    dim: int,
    *,
    blocks: int,
    hidden: int,
    clamp: float,
    task: int,
    seed: int,
    precision: Precision = "float32",
) -> nn.ModuleList:
    """Return the task's blocks, in the order in which they are applied."""
    return nn.ModuleList(
        DIABlock(dim, flipped=n % 2 == 1, hidden=hidden, clamp=clamp, task=task, name=f"dia.{n}", seed=seed,
                 precision=precision)
        for n in range(blocks)
    )  # fmt: skip
