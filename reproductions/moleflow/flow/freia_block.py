"""FrEIA's coupling block as the public code uses it, with what it takes from outside given in each call.

The public code hands grid and task to its subnets through class attributes. Here they are bound for one call
and gone after it, also after an error. The block draws its permutation from NumPy's global generator: seeded,
used and put back. FrEIA's global scale and offset are in no optimiser of the public code: unless
`global_affine` they are held at 1 and 0. Source: FrEIA 0.2, facts 1.2.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from reproductions.moleflow.flow.coupling import Mapped
from reproductions.moleflow.flow.cross_patch import CrossPatchSubnet
from reproductions.moleflow.flow.subnet import ContextSubnet, PlainSubnet
from reproductions.moleflow.initialisation import BASE, generator

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own use of deprecated names
    from FrEIA.modules import AllInOneBlock

Subnet = PlainSubnet | ContextSubnet | CrossPatchSubnet


class BoundSubnet(nn.Module):
    """A subnet of images as FrEIA calls it, with rows alone."""

    def __init__(self, subnet: Subnet) -> None:
        super().__init__()
        self.subnet = subnet
        self.call: Callable[[Tensor], Tensor] | None = None

    @contextmanager
    def bound(self, shape: torch.Size, place: Tensor | None, *, task: int) -> Iterator[None]:
        """Give the subnet its grid, place and task until the block ends."""

        def coefficients(rows: Tensor) -> Tensor:
            images = rows.view(*shape[:-1], rows.shape[-1])  # batch row column passive
            return torch.cat(self.subnet(images, place, task=task), dim=-1).flatten(0, 2)

        self.call = coefficients
        try:
            yield
        finally:
            self.call = None

    def forward(self, rows: Float[Tensor, "patch passive"]) -> Float[Tensor, "patch coefficient"]:
        """Return log-scales and shifts of each row.

        Raises:
            RuntimeError: no call is bound.
        """
        if self.call is None:
            raise RuntimeError("this subnet has no grid and no task: FreiaBlock binds them in each call")
        return self.call(rows)


@contextmanager
def seeded_numpy(seed: int) -> Iterator[None]:
    """Seed NumPy's global generator until the block ends, and put it back as it was."""
    before = np.random.get_state()  # noqa: NPY002 - FrEIA draws from the global generator
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


class FreiaBlock(nn.Module):
    """`CouplingBlock` by FrEIA: the same map on the same weights (`tests/moleflow/test_freia_block.py`)."""

    def __init__(
        self, dim: int, *, subnet: Subnet, clamp: float, global_affine: bool, name: str, seed: int
    ) -> None:
        super().__init__()
        drawn = generator(seed, task=BASE, name=f"{name}.order").initial_seed() % 2**32
        with seeded_numpy(drawn):
            self.freia = AllInOneBlock(
                [(dim,)],
                subnet_constructor=lambda _fan_in, _fan_out: BoundSubnet(subnet),
                affine_clamping=clamp,
                global_affine_type="SOFTPLUS",
                permute_soft=False,
            )
        held = ("freia.w_perm", "freia.w_perm_inv")
        self.still = held if global_affine else (*held, "freia.global_scale", "freia.global_offset")

    @property
    def subnet(self) -> Subnet:
        """The network inside."""
        found: Subnet = self.freia.subnet.subnet
        return found

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
        with self.freia.subnet.bound(x.shape, place, task=task):
            (latent,), log_det = self.freia([x.flatten(0, 2)])
        return Mapped(latent.view(x.shape), log_det.view(x.shape[:-1]))

    def inverse(
        self,
        y: Float[Tensor, "batch row column dim"],
        place: Float[Tensor, "batch row column place"] | None,
        *,
        task: int,
    ) -> Float[Tensor, "batch row column dim"]:
        """Map the latent side back."""
        with self.freia.subnet.bound(y.shape, place, task=task):
            (x,), _ = self.freia([y.flatten(0, 2)], rev=True)
        return x.view(y.shape)
