"""AdamP: Adam whose step loses the part that only changes the length of a weight.

Where the gradient of a weight stands at a right angle to it, as that of a weight before a normalisation does,
the part of the step along the weight does nothing but make it longer and later steps smaller; it is left out,
and so is most of the decay. Source: Heo et al., ICLR 2021, algorithm 2; cosine limit and share of the decay
as there, rows before the whole tensor.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

BETAS = (0.9, 0.999)
EPSILON = 1e-8
DELTA = 0.1  # a cosine below DELTA / sqrt(numbers) is taken for a right angle
DECAY_SHARE = 0.1  # of the weight decay, where the step is projected


def _rows(x: Float[Tensor, "..."]) -> Float[Tensor, "row number"]:
    return x.reshape(len(x), -1)


def _whole(x: Float[Tensor, "..."]) -> Float[Tensor, "1 number"]:
    return x.reshape(1, -1)


def is_at_right_angle(
    weight: Float[Tensor, "row number"], gradient: Float[Tensor, "row number"], *, delta: float = DELTA
) -> bool:
    """Whether no row's gradient has a cosine of delta / sqrt(numbers) or more with its weight."""
    cosine = torch.nn.functional.cosine_similarity(weight, gradient, dim=1, eps=EPSILON).abs()
    return bool(cosine.max() < delta / math.sqrt(weight.shape[1]))


def projected(
    step: Float[Tensor, "..."], weight: Float[Tensor, "..."], gradient: Float[Tensor, "..."]
) -> tuple[Float[Tensor, "..."], float]:
    """Return a step without its part along the weight, and the share of the decay that is kept.

    The first view counts in which the gradient is at right angles: each row for itself, then the whole
    tensor. A vector, e.g. a bias, is never projected.
    """
    if weight.ndim < 2:
        return step, 1.0
    for view in (_rows, _whole):
        seen = view(weight)
        if is_at_right_angle(seen, view(gradient)):
            unit = seen / (seen.norm(dim=1, keepdim=True) + EPSILON)
            along = (unit * view(step)).sum(dim=1, keepdim=True)
            return (view(step) - unit * along).view_as(step), DECAY_SHARE
    return step, 1.0


class AdamP(torch.optim.Optimizer):
    """The optimiser; groups have a learning rate and a decoupled weight decay, as those of AdamW."""

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        """Take parameter groups with `params`, `lr` and `weight_decay`."""
        super().__init__(groups, {"lr": 1e-3, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move each parameter that has a gradient."""
        if closure is not None:
            raise ValueError("AdamP takes one gradient a step; call it without a closure")
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, weight.grad, rate=group["lr"], decay=group["weight_decay"])
        return None

    def _move(self, weight: Tensor, gradient: Tensor, *, rate: float, decay: float) -> None:
        state = self.state[weight]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["mean"], state["square"] = torch.zeros_like(weight), torch.zeros_like(weight)
        state["step"] += 1
        first, second = BETAS
        state["mean"].mul_(first).add_(gradient, alpha=1 - first)
        state["square"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        count = float(state["step"])
        spread = (state["square"] / (1 - second**count)).sqrt_().add_(EPSILON)
        step, kept = projected(state["mean"] / (1 - first**count) / spread, weight, gradient)
        if decay:
            weight.mul_(1 - rate * decay * kept)
        weight.sub_(step, alpha=rate)
