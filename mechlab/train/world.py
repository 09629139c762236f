"""The ranks that train one run together: each one's share of a batch, and sums over all of them.

A step on several devices is the step on one. A loss is a mean over the images of a batch (see
`Trainable.loss`), so with n_r of n images on rank r the batch's loss is the sum of n_r / n times the loss of
each share, and so is its gradient: equal to the single device's up to the order of the additions.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn

from mechlab.errors import MechlabError
from mechlab.train.stage import Loss


@runtime_checkable
class World(Protocol):
    """Which rank this process is, of how many; what every rank calls together."""

    @property
    def rank(self) -> int:
        """Number of this rank, from 0; the first writes the run's files."""
        ...

    @property
    def size(self) -> int:
        """Number of ranks."""
        ...

    def sum(self, values: Shaped[Tensor, "*any"]) -> Shaped[Tensor, "*any"]:
        """Return the sum over ranks, the same bits on each; `values` may be overwritten."""
        ...


@dataclass(frozen=True, slots=True)
class Alone:
    """The world of a single device."""

    rank: int = 0
    size: int = 1

    def sum(self, values: Shaped[Tensor, "*any"]) -> Shaped[Tensor, "*any"]:
        """Return what was given."""
        return values


ALONE = Alone()


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one rank takes of a batch."""

    items: Int[np.ndarray, " item"]
    weight: float  # its part of the batch's images

    @property
    def is_empty(self) -> bool:
        """Whether the rank has no image: it looks at the first one with weight 0, so that sums are whole."""
        return self.weight == 0


def share(items: Int[np.ndarray, " item"], world: World) -> Share:
    """Return a rank's share of a batch: consecutive images, the first ranks one more where it is uneven."""
    own = np.array_split(items, world.size)[world.rank]
    if len(own) == 0:
        return Share(items=items[:1], weight=0.0)
    return Share(items=own, weight=len(own) / len(items))


def batch_loss(world: World, loss: Loss, *, weight: float) -> tuple[float, dict[str, float]]:
    """Return the loss of the whole batch and its terms, in the unit of `loss`, from each rank's share."""
    if world.size == 1:
        return float(loss.total.detach()), {name: float(term.detach()) for name, term in loss.terms.items()}
    parts = torch.stack([term.detach().double() for term in (loss.total, *loss.terms.values())])
    total, *terms = world.sum(parts * weight).tolist()
    return total, dict(zip(loss.terms, terms, strict=True))


def sum_gradients(world: World, parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by the sum over ranks; one message for all of them."""
    if world.size == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    joined = world.sum(torch.cat([gradient.reshape(-1) for gradient in gradients]))
    start = 0
    for gradient in gradients:
        gradient.copy_(joined[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()


def meet(world: World) -> None:
    """Return when every rank has come here."""
    world.sum(torch.zeros(1))


def first_says(world: World, said: bool) -> bool:
    """Return on every rank what the first one says; clocks differ, decisions must not."""
    return bool(world.sum(torch.tensor(float(said and world.rank == 0))).item())


def gathered(world: World, number: int) -> tuple[int, ...]:
    """Return the number that each rank gives, in the order of ranks; exact below 2^53."""
    row = torch.zeros(world.size, dtype=torch.float64)
    row[world.rank] = number
    return tuple(int(value) for value in world.sum(row).tolist())


def refuse_disagreement(world: World, module: nn.Module) -> None:
    """Refuse ranks whose modules differ in a bit: what a rank keeps for itself would be lost.

    Raises:
        MechlabError: on every rank.
    """
    if world.size == 1:
        return
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(
            name.encode() + value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        )
    if len(set(gathered(world, int.from_bytes(digest.digest()[:6], "big")))) > 1:
        raise MechlabError(
            f"the {world.size} ranks ended the task with different parameters: the system keeps something of "
            "its own batch, e.g. running statistics; train it with --devices 1."
        )
