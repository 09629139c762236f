"""The same subnets in fewer products: low-rank branches merged into their base.

x W' + s x A' B' is x (W + s B A)': where rows are many and ranks high, that saves most of a branch. A
position that all images share is multiplied once a place, and a context is added to what it joins. Scale and
shift stay two products: as one, their first layers were slower on a CPU. Nothing passes through the Linears
then, so nothing can watch them (`is_watched`). The numbers differ from those of `subnet.py` by rounding alone
(`tests/moleflow/test_fused.py`); scores, made without gradients, do not depend on what is frozen.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional

from mechlab.errors import MechlabError
from mechlab.train.precision import lowered
from reproductions.moleflow.flow.branch import Branched, LoRALinear, TaskLinear

Seen = Float[Tensor, "batch row column seen"]
Place = Float[Tensor, "batch row column place"]
Rows = Float[Tensor, "patch fan_out"]
Part = Float[Tensor, "batch row column _width"]  # of what a Linear sees
Out = Float[Tensor, "batch row column fan_out"]


class Product(NamedTuple):
    """A Linear as numbers."""

    weight: Float[Tensor, "fan_out fan_in"]
    bias: Float[Tensor, " fan_out"]


class LowRank(torch.autograd.Function):
    """[x, ...] W' + b, with gradients for the parts, b and the factors of W alone: its base is frozen.

    W = base + up · down. The gradient of W itself, which would cost as much as the product, is never made.
    The parts stand side by side and are not joined: a joined copy would stay until the backward pass.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        weight: Float[Tensor, "fan_out fan_in"],
        bias: Float[Tensor, " fan_out"],
        down: Float[Tensor, "rank fan_in"],
        up: Float[Tensor, "fan_out rank"],
        *parts: Float[Tensor, "patch _width"],
    ) -> Float[Tensor, "patch fan_out"]:
        """Return the product."""
        ctx.save_for_backward(weight, down, up, *parts)
        ctx.save_for_forward(weight, *parts)
        return _summed(parts, weight, start=bias)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        """Return the gradients of b, down, up and the parts."""
        weight, down, up, *parts = ctx.saved_tensors  # type: ignore[attr-defined]
        of_rank = (gradient @ up).T
        of_down = torch.cat([of_rank @ part for part in parts], dim=1)
        of_up = gradient.T @ _summed(parts, down)
        needed = ctx.needs_input_grad[4:]  # type: ignore[attr-defined]
        columns = zip(_columns(weight, parts), needed, strict=True)
        of_parts = (gradient @ each if needs else None for each, needs in columns)
        return None, gradient.sum(dim=0), of_down, of_up, *of_parts

    @staticmethod
    def jvp(ctx: FunctionCtx, *tangents: Tensor | None) -> Tensor:
        """Return the product of a direction of the parts: for score matching."""
        return _summed(tangents[4:], ctx.saved_tensors[0])  # type: ignore[arg-type, attr-defined]


def _columns(weight: Float[Tensor, "fan_out fan_in"], parts: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the columns of a weight that belong to each part."""
    return torch.split(weight, [part.shape[1] for part in parts], dim=1)


def _summed(
    parts: Sequence[Tensor], weight: Float[Tensor, "fan_out fan_in"], *, start: Tensor | None = None
) -> Float[Tensor, "patch fan_out"]:
    """Return the sum of each part's product with its columns, and of `start`."""
    first, *others = _columns(weight, parts)
    rows = parts[0] @ first.T if start is None else torch.addmm(start, parts[0], first.T)
    for part, each in zip(parts[1:], others, strict=True):
        rows = rows.addmm_(part, each.T)
    return rows


class Depthwise(torch.autograd.Function):
    """A depthwise convolution of odd kernel, channels last; its input's gradient is again a convolution.

    torch's own backward pass of it takes five times as long on a CPU.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: Float[Tensor, "batch channel row column"],
        weight: Float[Tensor, "channel 1 kernel kernel"],
    ) -> Float[Tensor, "batch channel row column"]:
        """Return the convolution, of zeros outside the image."""
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)
        return _convolved(x, weight)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:  # type: ignore[override]
        """Return the gradients of x and the weight."""
        x, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        needs_x, needs_weight = ctx.needs_input_grad  # type: ignore[attr-defined]
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_weight = None
        if needs_weight:
            reach, groups = [weight.shape[-1] // 2] * 2, len(weight)
            of_weight = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, [1, 1], reach, [1, 1], False, [0, 0], groups, [False, True, False]
            )[1]
        return _convolved(gradient, weight.flip(2, 3)) if needs_x else None, of_weight

    @staticmethod
    def jvp(ctx: FunctionCtx, tangent: Tensor, *_: Tensor | None) -> Tensor:
        """Return the convolution of a direction of x: for score matching."""
        return _convolved(tangent, ctx.saved_tensors[1])  # type: ignore[attr-defined]


def _convolved(x: Tensor, weight: Tensor) -> Tensor:
    return functional.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=len(weight))


def merged(linear: Branched, *, task: int) -> Product:
    """Return base + scaling · up · down and both biases; the base alone where the task has no branch."""
    if isinstance(linear, TaskLinear):
        own = linear.linear[str(task)]
        return Product(own.weight, own.bias)
    assert isinstance(linear, LoRALinear), "factors of places have no single weight"
    if str(task) not in linear.up:
        return Product(linear.base.weight, linear.base.bias)
    down, up = linear.down[str(task)], linear.up[str(task)]
    weight = torch.addmm(linear.base.weight, up.weight, down.weight, alpha=linear.scaling)
    return Product(weight, linear.base.bias + up.bias)


def is_low_rank(linear: Branched, *, task: int) -> bool:
    """Return whether gradients are taken of a branch whose base is frozen: its whole weight needs none."""
    return (
        isinstance(linear, LoRALinear)
        and torch.is_grad_enabled()
        and str(task) in linear.up
        and not linear.base.weight.requires_grad
    )


def applied(
    linear: Branched, x: Seen, place: Place | None = None, *, task: int, is_rectified: bool = False
) -> Out:
    """Return the Linear with its branch of [x, place], in one product forwards; rectified, if asked.

    A place that all images share is multiplied once.
    """
    product = merged(linear, task=task)
    if is_low_rank(linear, task=task):
        rows = _low_rank(linear, [x] if place is None else [x, place], product, task)
    else:
        rows = _rows(product, x, place)
    return _patches(rows, x, is_rectified=is_rectified)


def applied_around(
    linear: Branched,
    passive: Seen,
    place: Place | None,
    context: Seen,
    offset: Float[Tensor, " seen"],
    *,
    task: int,
) -> Out:
    """Return the rectified Linear with its branch of [passive, place, context + offset]."""
    weight, bias = merged(linear, task=task)
    given = [passive] if place is None else [passive, place]
    split = sum(part.shape[-1] for part in given)
    bias = bias + weight[:, split:] @ offset
    if is_low_rank(linear, task=task):
        rows = _low_rank(linear, [*given, context], Product(weight, bias), task)
    else:
        rows = _rows(Product(weight[:, :split], bias), passive, place)
        # In place: room that is let go between tensors that stay is seldom used again.
        rows = rows.addmm_(*lowered(context.reshape(-1, context.shape[-1]), weight[:, split:].T))
    return _patches(rows, passive, is_rectified=True)


def _patches(rows: Rows, like: Seen, *, is_rectified: bool) -> Out:
    """Return rows as patches; rectified before, since a view changed in place costs two copies backwards."""
    rows = functional.relu_(rows) if is_rectified else rows
    return rows.view(*like.shape[:-1], -1)


def _rows(product: Product, x: Seen, place: Place | None) -> Rows:
    """Return [x, place] · weight' + bias of each patch."""
    weight, bias = product
    flat = x.flatten(0, 2)
    if place is None:
        return torch.addmm(bias, flat, weight.T)
    if place.stride(0):  # not one grid of places for all images
        return torch.addmm(bias, torch.cat([x, place], dim=-1).flatten(0, 2), weight.T)
    split = x.shape[-1]
    shared = functional.linear(place[0], weight[:, split:], bias).flatten(0, 1)  # row·column fan_out
    return torch.addmm(shared.repeat(len(x), 1), flat, weight[:, :split].T)


def _low_rank(linear: Branched, parts: Sequence[Part], product: Product, task: int) -> Rows:
    assert isinstance(linear, LoRALinear)
    down, up = linear.down[str(task)].weight, linear.up[str(task)].weight * linear.scaling
    rows: Rows = LowRank.apply(
        *lowered(*product, down, up, *(part.reshape(-1, part.shape[-1]) for part in parts))
    )
    return rows


def around(context: nn.Conv2d, passive: Seen, *, strength: Float[Tensor, " 1"]) -> Seen:
    """Return strength · (context without its bias) of each patch's neighbourhood."""
    channels = passive.permute(0, 3, 1, 2)  # batch channel row column, channels last
    return Depthwise.apply(*lowered(channels, context.weight * strength)).permute(0, 2, 3, 1)


def is_watched(subnet: nn.Module) -> bool:
    """Return whether something hooks a module inside a subnet; then its products are made apart.

    Raises:
        MechlabError: while training, where that would move the numbers by rounding: observers never change.
    """
    name = next((name for name, module in subnet.named_modules() if name and _has_hooks(module)), None)
    if name is not None and subnet.training:
        raise MechlabError(
            f"products=fused makes a subnet's products together, and something watches '{name}' inside it, "
            "which nothing passes through while training; watch what is outside the subnets, record a "
            "checkpoint, or train with products=apart."
        )
    return name is not None


def _has_hooks(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )
