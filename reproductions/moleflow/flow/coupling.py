"""One affine coupling block as functions of its inputs: no last-call state, no global generator.

Equal to FrEIA's `AllInOneBlock` with SOFTPLUS scaling and hard permutation on shared weights.
Source: FrEIA 0.2 (Ardizzone et al.); facts 1.2: coefficients times 0.1, log s = clamp · tanh.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mechlab.errors import MechlabError
from reproductions.moleflow.flow.affine import Affine, Order, Permute, affine_step
from reproductions.moleflow.flow.cross_patch import CrossPatchSubnet
from reproductions.moleflow.flow.subnet import ContextSubnet, PlainSubnet
from reproductions.moleflow.initialisation import BASE, generator

DAMPING = 0.1  # FrEIA multiplies the subnet's output by it


class Mapped(NamedTuple):
    """What an invertible step returns."""

    latent: Float[Tensor, "batch row column dim"]
    log_det: Float[Tensor, "batch row column"]  # nats; the additive term of each patch


def softplus_scale(raw: Float[Tensor, " dim"]) -> Float[Tensor, " dim"]:
    """Return FrEIA's SOFTPLUS scale: 0.1 · softplus with beta 0.5."""
    return 0.1 * functional.softplus(raw, beta=0.5)


class CouplingBlock(nn.Module):
    """Split, transform the second part given the first, scale all channels, permute.

    The first part is the larger one where `dim` is odd. `global_affine` adds FrEIA's learned scale and offset
    a channel; without it they are 1 and 0, where the published code leaves them. `not_a_density` is
    the reason why the subnet, which then sees all channels, makes it no coupling (`flow/cross_patch.py`).
    """

    order: Int[Tensor, " dim"]
    back: Int[Tensor, " dim"]

    def __init__(
        self,
        dim: int,
        *,
        subnet: PlainSubnet | ContextSubnet | CrossPatchSubnet,
        clamp: float,
        global_affine: bool,
        name: str,
        seed: int,
        not_a_density: str | None = None,
    ) -> None:
        super().__init__()
        self.split = dim - dim // 2
        self.step = Affine(start=self.split, stop=dim, bound=clamp, gain=DAMPING, damping=DAMPING)
        self.subnet = subnet
        self.not_a_density = not_a_density
        order = torch.randperm(dim, generator=generator(seed, task=BASE, name=f"{name}.order"))
        self.register_buffer("order", order)
        self.register_buffer("back", order.argsort())
        self.raw_scale = self.offset = None
        if global_affine:
            start = 2 * float(np.log(np.expm1(5.0)))  # softplus_scale(start) = 1
            self.raw_scale = nn.Parameter(torch.full((dim,), start))
            self.offset = nn.Parameter(torch.zeros(dim))

    def add_task(self, task: int) -> None:
        """Create the task's branches in the subnet."""
        self.subnet.add_task(task)

    def forward(
        self,
        x: Float[Tensor, "batch row column dim"],
        place: Float[Tensor, "batch row column place"] | None,
        *,
        task: int,
    ) -> Mapped:
        """Map data towards the latent side."""
        raw, shift = self.subnet(x if self.not_a_density else x[..., : self.split], place, task=task)
        if self.raw_scale is None:
            return Mapped(*affine_step(x, raw, shift, self.step, Order(self.order, self.back)))
        y, log_det = affine_step(x, raw, shift, self.step)
        scale = softplus_scale(self.raw_scale)
        y, log_det = y * scale + self.offset, log_det + scale.log().sum()
        return Mapped(Permute.apply(y, self.order, self.back), log_det)

    def inverse(
        self,
        y: Float[Tensor, "batch row column dim"],
        place: Float[Tensor, "batch row column place"] | None,
        *,
        task: int,
    ) -> Float[Tensor, "batch row column dim"]:
        """Map the latent side back; a MechlabError where the block is no coupling."""
        if self.not_a_density:
            raise MechlabError(
                f"a block without an inverse cannot be undone: {self.not_a_density}; use subnet=cpcf."
            )
        x = Permute.apply(y, self.back, self.order)
        if self.raw_scale is not None:
            x = (x - self.offset) / softplus_scale(self.raw_scale)
        raw, shift = self.subnet(x[..., : self.split], place, task=task)
        return self.step.inverse(x, raw, shift)
