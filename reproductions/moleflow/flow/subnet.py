"""The networks inside a coupling block: Linears with one low-rank branch a task, with or without context.

Every product is an `nn.Linear` that is really called (`base`, `down.<task>`, `up.<task>`), so whatever hooks
Linears sees the whole subnet. Source: notes 004 L30 (scaling alpha / r), L562 (context); facts 1.2.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from reproductions.moleflow.initialisation import BASE, empty_linear, generator, start_uniform, start_zero


@dataclass(frozen=True, slots=True, kw_only=True)
class SubnetShape:
    """The sizes of one subnet."""

    passive: int  # channels it reads
    active: int  # channels it transforms
    place: int  # channels of the position condition, 0 without
    hidden: int
    rank: int  # of the tasks' branches, 0 without
    alpha: float  # LoRA scaling is alpha / rank


class LoRALinear(nn.Module):
    """y = W x + b, and for each task that has a branch + (alpha / rank) B A x + b_task (Hu et al. 2021)."""

    def __init__(self, fan_in: int, fan_out: int, *, rank: int, alpha: float, name: str, seed: int) -> None:
        super().__init__()
        self.rank, self.scaling = rank, alpha / rank if rank else 0.0
        self.name, self.seed = name, seed
        self.base = empty_linear(fan_in, fan_out)
        start_uniform(self.base.weight, self.base.bias, draw=generator(seed, task=BASE, name=name))
        self.down = nn.ModuleDict()
        self.up = nn.ModuleDict()

    def add_task(self, task: int) -> None:
        """Create the task's branch: A Xavier-uniform, B and b_task zero, so that it changes nothing yet."""
        if not self.rank:
            return
        down = nn.utils.skip_init(nn.Linear, self.base.in_features, self.rank, bias=False)
        nn.init.xavier_uniform_(down.weight, generator=generator(self.seed, task=task, name=self.name))
        up = empty_linear(self.rank, self.base.out_features)  # its bias is b_task, which is not scaled
        start_zero(up.weight, up.bias)
        self.down[str(task)], self.up[str(task)] = down, up

    def forward(self, x: Float[Tensor, "*patch fan_in"], *, task: int) -> Float[Tensor, "*patch fan_out"]:
        """Apply the base, and the task's branch if it has one."""
        y = self.base(x)
        if str(task) not in self.up:
            return y
        # Scaled between the factors: there are only `rank` columns there, and b_task stays unscaled.
        return y + self.up[str(task)](self.down[str(task)](x) * self.scaling)


class PlainSubnet(nn.Module):
    """Linear, ReLU, Linear: the coefficients of a patch from its passive half (facts 1.2, MoLESubnet)."""

    def __init__(self, shape: SubnetShape, *, name: str, seed: int) -> None:
        super().__init__()
        lora = {"rank": shape.rank, "alpha": shape.alpha, "seed": seed}
        self.first = LoRALinear(shape.passive + shape.place, shape.hidden, name=f"{name}.first", **lora)
        self.second = LoRALinear(shape.hidden, 2 * shape.active, name=f"{name}.second", **lora)

    def add_task(self, task: int) -> None:
        """Create the task's branches."""
        self.first.add_task(task)
        self.second.add_task(task)

    def forward(
        self,
        passive: Float[Tensor, "batch row column passive"],
        place: Float[Tensor, "batch row column place"] | None,
        *,
        task: int,
    ) -> tuple[Float[Tensor, "batch row column active"], Float[Tensor, "batch row column active"]]:
        """Return the raw log-scale and the raw shift of each patch."""
        seen = passive if place is None else torch.cat([passive, place], dim=-1)
        raw = self.second(functional.relu(self.first(seen, task=task)), task=task)
        log_scale, shift = raw.chunk(2, dim=-1)
        return log_scale, shift


class ContextSubnet(nn.Module):
    """As `PlainSubnet` with separate nets for scale and shift; the scale also sees neighbouring patches.

    The context is a depthwise convolution of the passive half, zero at the start, weighted by
    alpha = limit · sigmoid(level); it makes the log-det of one patch depend on its neighbours, so only an
    image's sum is a determinant. Source: notes 004 L592 on, facts 1.2.
    """

    def __init__(
        self, shape: SubnetShape, *, kernel: int, initial: float, limit: float, name: str, seed: int
    ) -> None:
        super().__init__()
        lora = {"rank": shape.rank, "alpha": shape.alpha, "seed": seed}
        passive = shape.passive
        self.limit = limit
        self.context = nn.utils.skip_init(
            nn.Conv2d, passive, passive, kernel, padding=kernel // 2, groups=passive
        )
        start_zero(self.context.weight, self.context.bias)
        share = min(max(initial / limit, 0.01), 0.99)  # of the limit (notes 004 L592)
        self.level = nn.Parameter(torch.tensor([math.log(share / (1 - share))]))
        self.s1 = LoRALinear(2 * passive + shape.place, shape.hidden, name=f"{name}.s1", **lora)
        self.s2 = LoRALinear(shape.hidden, shape.active, name=f"{name}.s2", **lora)
        self.t1 = LoRALinear(passive + shape.place, shape.hidden, name=f"{name}.t1", **lora)
        self.t2 = LoRALinear(shape.hidden, shape.active, name=f"{name}.t2", **lora)

    def add_task(self, task: int) -> None:
        """Create the task's branches; the context convolution has none."""
        for linear in (self.s1, self.s2, self.t1, self.t2):
            linear.add_task(task)

    @property
    def strength(self) -> Float[Tensor, " 1"]:
        """The weight of the context, in (0, limit)."""
        return self.limit * torch.sigmoid(self.level)

    def forward(
        self,
        passive: Float[Tensor, "batch row column passive"],
        place: Float[Tensor, "batch row column place"] | None,
        *,
        task: int,
    ) -> tuple[Float[Tensor, "batch row column active"], Float[Tensor, "batch row column active"]]:
        """Return the raw log-scale and the raw shift of each patch."""
        around = self.context(passive.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) * self.strength
        given = [] if place is None else [place]
        seen = torch.cat([passive, *given], dim=-1)
        log_scale = self.s2(functional.relu(self.s1(torch.cat([seen, around], dim=-1), task=task)), task=task)
        return log_scale, self.t2(functional.relu(self.t1(seen, task=task)), task=task)
