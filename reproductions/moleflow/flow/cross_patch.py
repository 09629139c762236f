"""Cross-patch coupling: scale and shift of a patch also depend on its neighbourhood.

As sketched the context is taken from all channels, hence also from those that the block transforms. Then the
map is no coupling: it has no inverse in closed form, and the sum of log-scales is not its log-determinant.
Corrected, the context is that of the untouched half: the block is invertible, and its log-det exact over an
image. The notes' sum over patches of log p(patch given neighbours) is a pseudo-likelihood; the corrected map
gives a density of the image. Source: notes 004 L178 on.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from reproductions.moleflow.flow.neighbourhood import Neighbourhood
from reproductions.moleflow.flow.precise import precise
from reproductions.moleflow.flow.subnet import SubnetShape, linear_of

NOT_A_DENSITY = "its context holds the channels that it transforms, so the sum of log-scales is no log-det"


class CrossPatchSubnet(nn.Module):
    """Separate nets for scale and shift; both see the passive half and the neighbourhood.

    The neighbourhood is that of the input: the passive half, or (`is_sketch`) all channels.
    """

    def __init__(
        self,
        shape: SubnetShape,
        *,
        neighbourhood: Neighbourhood,
        is_sketch: bool,
        name: str,
        seed: int,
    ) -> None:
        super().__init__()
        self.passive, self.neighbourhood = shape.passive, neighbourhood
        self.precision = shape.precision
        around = shape.passive + (shape.active if is_sketch else 0)
        seen = shape.passive + shape.place + around
        self.s1 = linear_of(shape, seen, shape.hidden, name=f"{name}.s1", seed=seed)
        self.s2 = linear_of(shape, shape.hidden, shape.active, name=f"{name}.s2", seed=seed)
        self.t1 = linear_of(shape, seen, shape.hidden, name=f"{name}.t1", seed=seed)
        self.t2 = linear_of(shape, shape.hidden, shape.active, name=f"{name}.t2", seed=seed)

    def add_task(self, task: int) -> None:
        """Create the task's branches; the neighbourhood has none."""
        for linear in (self.s1, self.s2, self.t1, self.t2):
            linear.add_task(task)

    @precise
    def forward(
        self,
        given: Float[Tensor, "batch row column given"],
        place: Float[Tensor, "batch row column place"] | None,
        *,
        task: int,
    ) -> tuple[Float[Tensor, "batch row column active"], Float[Tensor, "batch row column active"]]:
        """Return the raw log-scale and the raw shift of each patch."""
        parts = [given[..., : self.passive], self.neighbourhood(given)]
        seen = torch.cat(parts if place is None else [*parts, place], dim=-1)
        log_scale = self.s2(functional.relu(self.s1(seen, task=task)), task=task)
        return log_scale, self.t2(functional.relu(self.t1(seen, task=task)), task=task)
