"""A product of the subnets and what tasks add to it: low-rank factors, a grid of them, or a Linear alone.

Each part is an `nn.Linear` that is really called (`base`, `down.<task>`, `up.<task>`, `linear.<task>`).
Source: notes 004 L7 and L30 (scaling), L152 (a grid of factors), L3766 (plain Linears, spectral norm).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from reproductions.moleflow.initialisation import BASE, empty_linear, generator, start_uniform, start_zero


class UnitNorm(nn.Module):
    """A weight divided by its largest singular value, computed anew at each call.

    The power iteration of `torch.nn.utils.spectral_norm` keeps vectors that move in every training step, also
    where the weight is frozen, so that earlier tasks' scores would drift.
    """

    def forward(self, weight: Float[Tensor, "fan_out fan_in"]) -> Float[Tensor, "fan_out fan_in"]:
        """Return weight / sigma."""
        return weight / torch.linalg.matrix_norm(weight, ord=2)


def base_linear(
    fan_in: int, fan_out: int, *, task: int, is_spectral: bool, name: str, seed: int
) -> nn.Linear:
    """Return a Linear with torch's default start, of spectral norm 1 if asked."""
    linear = empty_linear(fan_in, fan_out)
    start_uniform(linear.weight, linear.bias, draw=generator(seed, task=task, name=name))
    if is_spectral:
        parametrize.register_parametrization(linear, "weight", UnitNorm())
    return linear


class LoRALinear(nn.Module):
    """y = W x + b, and for each task that has a branch + (alpha / rank) B A x + b_task (Hu et al. 2021)."""

    def __init__(
        self,
        fan_in: int,
        fan_out: int,
        *,
        rank: int,
        alpha: float,
        name: str,
        seed: int,
        is_spectral: bool = False,
    ) -> None:
        super().__init__()
        self.rank, self.scaling = rank, alpha / rank if rank else 0.0
        self.name, self.seed = name, seed
        self.base = base_linear(fan_in, fan_out, task=BASE, is_spectral=is_spectral, name=name, seed=seed)
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


def grid_shares(grid: tuple[int, int], *, nodes: int) -> Float[Tensor, "row column node"]:
    """Return how much of each of nodes x nodes corners a place takes: bilinear, summing to 1.

    The outermost nodes lie on the outermost places; one row or column stands in the middle.
    """

    def along(count: int) -> Float[Tensor, "place node"]:
        last = nodes - 1
        at = torch.linspace(0, last, count) if count > 1 else torch.tensor([last / 2])
        return (1 - (at[:, None] - torch.arange(nodes)).abs()).clamp_min(0)

    down, across = along(grid[0]), along(grid[1])
    return (down[:, None, :, None] * across[None, :, None, :]).flatten(2)


class GridLoRALinear(nn.Module):
    """y = W x + b + (alpha / rank) B_p A_p x + b_task: factors of the patch's place p, bilinear in a grid.

    Equal factors at all nodes are plain LoRA. The notes' sketch fills both factors with zero, so that neither
    would ever get a gradient; here A is drawn as in LoRA. Source: notes 004 L152.
    """

    share: Float[Tensor, "row column node"]

    def __init__(
        self,
        fan_in: int,
        fan_out: int,
        *,
        rank: int,
        alpha: float,
        grid: tuple[int, int],
        nodes: int,
        name: str,
        seed: int,
        is_spectral: bool = False,
    ) -> None:
        super().__init__()
        self.rank, self.scaling = rank, alpha / rank
        self.name, self.seed = name, seed
        self.base = base_linear(fan_in, fan_out, task=BASE, is_spectral=is_spectral, name=name, seed=seed)
        self.register_buffer("share", grid_shares(grid, nodes=nodes), persistent=False)
        self.down = nn.ModuleDict()
        self.up = nn.ModuleDict()

    def add_task(self, task: int) -> None:
        """Create the task's factors: A of each node Xavier-uniform, B and b_task zero."""
        stacked = self.share.shape[-1] * self.rank
        down = nn.utils.skip_init(nn.Linear, self.base.in_features, stacked, bias=False)
        draw = generator(self.seed, task=task, name=self.name)
        for factor in down.weight.detach().split(self.rank):
            nn.init.xavier_uniform_(factor, generator=draw)
        up = empty_linear(stacked, self.base.out_features)
        start_zero(up.weight, up.bias)
        self.down[str(task)], self.up[str(task)] = down, up

    def forward(
        self, x: Float[Tensor, "batch row column fan_in"], *, task: int
    ) -> Float[Tensor, "batch row column fan_out"]:
        """Apply the base, and the task's factors at each place if it has any."""
        y = self.base(x)
        if str(task) not in self.up:
            return y
        share = self.share[..., None]  # row column node 1
        low = self.down[str(task)](x).unflatten(-1, (-1, self.rank))  # batch row column node rank
        here = (share * low).sum(dim=-2, keepdim=True) * self.scaling
        return y + self.up[str(task)]((share * here).flatten(-2))


class TaskLinear(nn.Module):
    """y = W_task x + b_task: a Linear of each task's own and nothing shared. Source: notes 004 L3766."""

    def __init__(self, fan_in: int, fan_out: int, *, name: str, seed: int, is_spectral: bool = False) -> None:
        super().__init__()
        self.sizes, self.is_spectral, self.name, self.seed = (fan_in, fan_out), is_spectral, name, seed
        self.linear = nn.ModuleDict()

    def add_task(self, task: int) -> None:
        """Create the task's Linear."""
        self.linear[str(task)] = base_linear(
            *self.sizes, task=task, is_spectral=self.is_spectral, name=self.name, seed=self.seed
        )

    def forward(self, x: Float[Tensor, "*patch fan_in"], *, task: int) -> Float[Tensor, "*patch fan_out"]:
        """Apply the task's Linear."""
        return self.linear[str(task)](x)


Branched = LoRALinear | GridLoRALinear | TaskLinear
