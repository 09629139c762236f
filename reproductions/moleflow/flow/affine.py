"""The affine step of a coupling as one operation, and its inverse.

    log s = bound · tanh(gain · raw),   y = x · exp(log s) + damping · shift,   then a reordering of channels

One operation keeps x and raw for the backward pass and nothing else. Made of torch's own, the step keeps an
exponential as well and leaves twice as many tensors behind, and the room of those lies between tensors that
stay, where it is seldom used again. The gradients can be derived again, and there is a directional
derivative: score matching takes both. Source: FrEIA 0.2, `AllInOneBlock`; facts 1.2.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import FunctionCtx

Features = Float[Tensor, "batch row column dim"]
Active = Float[Tensor, "batch row column active"]
Sums = Float[Tensor, "batch row column"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """What a step does: to channels `start` to `stop`, with a log-scale in (-bound, bound)."""

    start: int
    stop: int
    bound: float
    gain: float
    damping: float

    def log_scale(self, raw: Active) -> Active:
        """Return bound · tanh(gain · raw)."""
        return self.bound * (self.gain * raw).tanh_()

    def inverse(self, y: Features, raw: Active, shift: Active) -> Features:
        """Return what the step maps to y, before any reordering."""
        active = y[..., self.start : self.stop]
        back = (active - self.damping * shift) * torch.exp(-self.log_scale(raw))
        return torch.cat([y[..., : self.start], back, y[..., self.stop :]], dim=-1)


class Order(NamedTuple):
    """A reordering of channels: y[..., order], and what undoes it."""

    order: Int[Tensor, " dim"]
    back: Int[Tensor, " dim"]

    @property
    def undone(self) -> "Order":
        """The reordering that undoes this one."""
        return Order(self.back, self.order)


class Permute(torch.autograd.Function):
    """Reorder channels; the gradient is reordered back by one gather instead of a scatter."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, order: Tensor, back: Tensor) -> Tensor:
        """Return x[..., order]."""
        ctx.orders = (order, back)  # type: ignore[attr-defined]
        return x.reshape(-1, x.shape[-1]).index_select(1, order).view(x.shape)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Return gradient[..., back]."""
        order, back = ctx.orders  # type: ignore[attr-defined]
        return Permute.apply(gradient, back, order), None, None

    @staticmethod
    def jvp(ctx: FunctionCtx, tangent: Tensor, *_: None) -> Tensor:
        """Return tangent[..., order]: a directional derivative, for score matching."""
        order, back = ctx.orders  # type: ignore[attr-defined]
        found: Tensor = Permute.apply(tangent, order, back)
        return found


class AffineStep(torch.autograd.Function):
    """The step and the log-determinant of each patch; `affine_step` calls it."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Features, raw: Active, shift: Active, step: Affine, order: Order | None
    ) -> tuple[Features, Sums]:
        """Return y and the sum of log s."""
        ctx.step, ctx.order = step, order  # type: ignore[attr-defined]
        ctx.save_for_backward(x, raw)
        ctx.save_for_forward(x, raw)
        logarithm = (step.gain * raw).tanh_().mul_(step.bound)
        log_det = logarithm.sum(dim=-1)
        inside = slice(step.start, step.stop)
        moved = logarithm.exp_().mul_(x[..., inside]).add_(shift, alpha=step.damping)
        if order is None:
            y = x.clone(memory_format=torch.contiguous_format)
            y[..., inside] = moved
            return y, log_det
        rows = x.reshape(-1, x.shape[-1]).index_select(1, order.order)
        rows.index_copy_(1, order.back[inside], moved.flatten(0, -2))  # without a second tensor of this size
        return rows.view(x.shape), log_det

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: FunctionCtx, of_y: Features, of_sum: Sums
    ) -> tuple[Features, Active, Active, None, None]:
        """Return the gradients of x, raw and shift."""
        (x, raw), step, order = ctx.saved_tensors, ctx.step, ctx.order  # type: ignore[attr-defined]
        of_y = of_y if order is None else Permute.apply(of_y, *order.undone)
        of_moved = of_y[..., step.start : step.stop]
        active = x[..., step.start : step.stop]
        bent = (step.gain * raw).tanh_()
        grown = (step.bound * bent).exp_()
        of_shift = of_moved * step.damping
        if order is None or torch.is_grad_enabled():
            scaled = of_moved * grown
            of_logarithm = torch.addcmul(of_sum[..., None], scaled, active)
            of_raw = torch.ops.aten.tanh_backward(of_logarithm, bent).mul_(step.bound * step.gain)
            of_x = torch.cat([of_y[..., : step.start], scaled, of_y[..., step.stop :]], dim=-1)
            return of_x, of_raw, of_shift, None, None
        of_moved.mul_(grown)  # what was reordered is nobody else's
        of_raw = torch.addcmul(of_sum[..., None], of_moved, active, out=grown)
        torch.ops.aten.tanh_backward.grad_input(of_raw, bent, grad_input=of_raw)
        return of_y, of_raw.mul_(step.bound * step.gain), of_shift, None, None

    @staticmethod
    def jvp(ctx: FunctionCtx, x: Features, raw: Active, shift: Active, *_: None) -> tuple[Features, Sums]:
        """Return the derivative along a direction of x, raw and shift."""
        (at, at_raw), step, order = ctx.saved_tensors, ctx.step, ctx.order  # type: ignore[attr-defined]
        bent, inside = torch.tanh(step.gain * at_raw), slice(step.start, step.stop)
        logarithm = torch.ops.aten.tanh_backward(raw, bent) * (step.bound * step.gain)
        grown = torch.addcmul(x[..., inside], at[..., inside], logarithm)
        moved = torch.addcmul(step.damping * shift, grown, torch.exp(step.bound * bent))
        y = torch.cat([x[..., : step.start], moved, x[..., step.stop :]], dim=-1)
        return y if order is None else Permute.apply(y, *order), logarithm.sum(dim=-1)


def affine_step(
    x: Features, raw: Active, shift: Active, step: Affine, order: Order | None = None
) -> tuple[Features, Sums]:
    """Return y, reordered where an order is given, and the log-determinant of each patch in nats."""
    found: tuple[Features, Sums] = AffineStep.apply(x, raw, shift, step, order)
    return found
