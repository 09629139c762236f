"""The networks inside a coupling block: Linears with one low-rank branch a task, with or without context.

Every product is an `nn.Linear` that is really called (`flow/branch.py`), so whatever hooks Linears sees the
whole subnet. Source: notes 004 L562 (context); facts 1.2.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mechlab.specs import Precision
from reproductions.moleflow.depthwise import depthwise
from reproductions.moleflow.flow import fused
from reproductions.moleflow.flow.branch import Branched, GridLoRALinear, LoRALinear, TaskLinear
from reproductions.moleflow.flow.gate import PatchGate
from reproductions.moleflow.flow.precise import precise
from reproductions.moleflow.initialisation import start_zero


@dataclass(frozen=True, slots=True, kw_only=True)
class SubnetShape:
    """The sizes of one subnet."""

    passive: int  # channels it reads
    active: int  # channels it transforms
    place: int  # channels of the position condition, 0 without
    hidden: int
    rank: int  # of the tasks' branches, 0 without
    alpha: float  # LoRA scaling is alpha / rank
    branch: str = "lora"  # or "sc-lora", "linear"
    nodes: int = 4  # of "sc-lora", along each side
    grid: tuple[int, int] = (1, 1)  # patches, for "sc-lora"
    is_spectral: bool = False  # bases divided by their largest singular value
    is_fused: bool = False  # products made together (`flow/fused.py`)
    precision: Precision = "float32"  # of the products


def linear_of(shape: SubnetShape, fan_in: int, fan_out: int, *, name: str, seed: int) -> Branched:
    """Return a product of a subnet with the kind of branches that the shape asks for."""
    if shape.branch == "linear":
        return TaskLinear(fan_in, fan_out, is_spectral=shape.is_spectral, name=name, seed=seed)
    lora = {"rank": shape.rank, "alpha": shape.alpha, "is_spectral": shape.is_spectral}
    if shape.branch == "sc-lora":
        return GridLoRALinear(
            fan_in, fan_out, grid=shape.grid, nodes=shape.nodes, name=name, seed=seed, **lora
        )
    return LoRALinear(fan_in, fan_out, name=name, seed=seed, **lora)


class PlainSubnet(nn.Module):
    """Linear, ReLU, Linear: the coefficients of a patch from its passive half (facts 1.2, MoLESubnet)."""

    def __init__(self, shape: SubnetShape, *, name: str, seed: int) -> None:
        super().__init__()
        self.is_fused, self.precision = shape.is_fused, shape.precision
        self.first = linear_of(
            shape, shape.passive + shape.place, shape.hidden, name=f"{name}.first", seed=seed
        )
        self.second = linear_of(shape, shape.hidden, 2 * shape.active, name=f"{name}.second", seed=seed)

    def add_task(self, task: int) -> None:
        """Create the task's branches."""
        self.first.add_task(task)
        self.second.add_task(task)

    @precise
    def forward(
        self,
        passive: Float[Tensor, "batch row column passive"],
        place: Float[Tensor, "batch row column place"] | None,
        *,
        task: int,
    ) -> tuple[Float[Tensor, "batch row column active"], Float[Tensor, "batch row column active"]]:
        """Return the raw log-scale and the raw shift of each patch."""
        if self.is_fused and not fused.is_watched(self):
            hidden = fused.applied(self.first, passive, place, task=task, is_rectified=True)
            log_scale, shift = fused.applied(self.second, hidden, task=task).chunk(2, dim=-1)
            return log_scale, shift
        seen = passive if place is None else torch.cat([passive, place], dim=-1)
        raw = self.second(functional.relu(self.first(seen, task=task)), task=task)
        log_scale, shift = raw.chunk(2, dim=-1)
        return log_scale, shift


class ContextSubnet(nn.Module):
    """As `PlainSubnet` with separate nets for scale and shift; the scale also sees neighbouring patches.

    The context is a depthwise convolution of the passive half, zero at the start, weighted by
    alpha = limit · sigmoid(level), or by a gate of each patch; it makes a patch's log-det depend on its
    neighbours, so only an image's sum is a determinant. Source: notes 004 L592 on, facts 1.2.
    """

    def __init__(
        self,
        shape: SubnetShape,
        *,
        kernel: int,
        initial: float,
        limit: float,
        name: str,
        seed: int,
        gate: PatchGate | None = None,
    ) -> None:
        super().__init__()
        passive = shape.passive
        self.limit = limit
        self.is_fused, self.precision = shape.is_fused, shape.precision
        self.context = depthwise(passive, kernel)
        start_zero(self.context.weight, self.context.bias)
        self.gate = gate
        if gate is None:
            share = min(max(initial / limit, 0.01), 0.99)  # of the limit (notes 004 L592)
            self.level = nn.Parameter(torch.tensor([math.log(share / (1 - share))]))
        self.s1 = linear_of(shape, 2 * passive + shape.place, shape.hidden, name=f"{name}.s1", seed=seed)
        self.s2 = linear_of(shape, shape.hidden, shape.active, name=f"{name}.s2", seed=seed)
        self.t1 = linear_of(shape, passive + shape.place, shape.hidden, name=f"{name}.t1", seed=seed)
        self.t2 = linear_of(shape, shape.hidden, shape.active, name=f"{name}.t2", seed=seed)

    def add_task(self, task: int) -> None:
        """Create the task's branches; the context convolution has none."""
        for linear in (self.s1, self.s2, self.t1, self.t2):
            linear.add_task(task)

    @property
    def strength(self) -> Float[Tensor, " 1"]:
        """The weight of the context, in (0, limit)."""
        return self.limit * torch.sigmoid(self.level)

    @precise
    def forward(
        self,
        passive: Float[Tensor, "batch row column passive"],
        place: Float[Tensor, "batch row column place"] | None,
        *,
        task: int,
    ) -> tuple[Float[Tensor, "batch row column active"], Float[Tensor, "batch row column active"]]:
        """Return the raw log-scale and the raw shift of each patch."""
        if self.is_fused and not fused.is_watched(self):
            return self._fused(passive, place, task=task)
        around = self.context(passive.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        around = around * (self.strength if self.gate is None else self.gate(passive, around))
        given = [] if place is None else [place]
        seen = torch.cat([passive, *given], dim=-1)
        log_scale = self.s2(functional.relu(self.s1(torch.cat([seen, around], dim=-1), task=task)), task=task)
        return log_scale, self.t2(functional.relu(self.t1(seen, task=task)), task=task)

    def _fused(
        self,
        passive: Float[Tensor, "batch row column passive"],
        place: Float[Tensor, "batch row column place"] | None,
        *,
        task: int,
    ) -> tuple[Float[Tensor, "batch row column active"], Float[Tensor, "batch row column active"]]:
        around = fused.around(self.context, passive, strength=self.strength)
        offset = self.context.bias * self.strength
        scales = fused.applied_around(self.s1, passive, place, around, offset, task=task)
        shifts = fused.applied(self.t1, passive, place, task=task, is_rectified=True)
        return fused.applied(self.s2, scales, task=task), fused.applied(self.t2, shifts, task=task)
