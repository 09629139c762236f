"""Reductions of what a hook sees, on the device and before anything is written.

`moments` are mean and variance of each channel over all places; `covariance` is centred, of channels;
`quantiles` are of all elements (of at most 65,536 evenly spaced ones, the ends exact); `subsample:k` keeps k
evenly spaced places of an image. Sums run block by block over rows, centred, with double-precision totals:
`torch.var_mean(dim=0)` takes 38 times as long. Source: numerics notes, "Recording overhead".
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mechlab.errors import MechlabError

CHANNELS = ("dim", "channel")
PROBABILITIES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
_QUANTILE_ELEMENTS = 65_536
_BLOCK_BYTES = 1024**2  # rows that stay in the processor's cache


class Reduced(NamedTuple):
    """One array that a reduction gives: what joins the quantity's name, values, axes, unit, attributes."""

    name: str
    values: Float[Tensor, "*shape"]
    axes: tuple[str, ...]
    power: int = 1  # of the quantity's unit
    attributes: dict[str, Any] | None = None


def reduced(values: Tensor, axes: tuple[str, ...], reduction: str) -> Iterator[Reduced]:
    """Yield what a reduction of `values` gives; `axes` name its dimensions, without any that grows later.

    Raises MechlabError where the axes do not allow the reduction.
    """
    kind, _, number = reduction.partition(":")
    if kind == "quantiles":
        attributes = {"probabilities": list(PROBABILITIES)}
        yield Reduced("quantiles", quantiles(values), ("quantile",), 1, attributes)
    elif kind == "subsample":
        yield subsample(values, axes, places=int(number))
    else:
        rows = channel_rows(values, axes)
        if kind == "covariance":
            yield Reduced("covariance", covariance(rows), ("dim", "dim_other"), 2)
        else:
            mean, variance = moments(rows)
            yield Reduced("mean", mean, ("dim",))
            yield Reduced("variance", variance, ("dim",), 2)


def channel_rows(values: Tensor, axes: tuple[str, ...]) -> Float[Tensor, "row dim"]:
    """Return one row a place: channels last, everything else flattened; a tensor without channels is one."""
    found = [axis for axis in CHANNELS if axis in axes]
    values = values if values.dtype in (torch.float32, torch.float64) else values.float()
    if not found:
        return values.reshape(-1, 1)
    return values.movedim(axes.index(found[0]), -1).reshape(-1, values.shape[axes.index(found[0])])


def moments(rows: Float[Tensor, "row dim"]) -> tuple[Float[Tensor, " dim"], Float[Tensor, " dim"]]:
    """Return the mean and the variance (divided by the number of rows) of each column, in float64."""
    shift = _near_mean(rows)
    total, square = torch.zeros_like(shift), torch.zeros_like(shift)
    for block in _shifted(rows, shift):
        ones = block.new_ones(len(block))
        total += (ones @ block).double()
        square += (ones @ block.square_()).double()
    rest = total / len(rows)
    return shift + rest, square / len(rows) - rest.square()


def covariance(rows: Float[Tensor, "row dim"]) -> Float[Tensor, "dim dim"]:
    """Return the covariance of the columns (divided by the number of rows), in float64."""
    shift = _near_mean(rows)
    total, product = torch.zeros_like(shift), torch.zeros(len(shift), len(shift)).to(shift)
    for block in _shifted(rows, shift):
        total += (block.new_ones(len(block)) @ block).double()
        product += (block.T @ block).double()
    rest = total / len(rows)
    return product / len(rows) - torch.outer(rest, rest)


def quantiles(values: Tensor) -> Float[Tensor, " quantile"]:
    """Return the quantiles of PROBABILITIES over all elements; the smallest and the largest are exact."""
    flat = values.detach().reshape(-1)
    flat = flat if flat.dtype in (torch.float32, torch.float64) else flat.float()
    step = max(1, -(-flat.numel() // _QUANTILE_ELEMENTS))
    at = torch.tensor(PROBABILITIES, dtype=flat.dtype, device=flat.device)
    found = torch.quantile(flat[::step], at)
    found[0], found[-1] = torch.aminmax(flat)
    return found


def subsample(values: Tensor, axes: tuple[str, ...], *, places: int) -> Reduced:
    """Return the values at evenly spaced places of each image; which, stands in the attributes."""
    inside = [axis for axis in axes if axis not in ("item", "batch", "step", *CHANNELS)]
    if not inside or axes[0] not in ("item", "batch"):
        raise MechlabError(
            f"subsample keeps places of an image, and a tensor with axes {', '.join(axes)} has none; record "
            "it less often, or choose another reduction."
        )
    rest = [axis for axis in axes if axis in CHANNELS]
    order = [axes.index(axis) for axis in (axes[0], *inside, *rest)]
    flat = values.permute(order).flatten(1, len(inside))
    count = min(places, flat.shape[1])
    chosen = torch.linspace(0, flat.shape[1] - 1, count).round().long()
    kept = flat.index_select(1, chosen.to(flat.device))
    return Reduced("subsample", kept, (axes[0], "draw", *rest), 1, {"places": chosen.tolist()})


def _blocks(rows: Float[Tensor, "row dim"]) -> tuple[Tensor, ...]:
    return torch.split(rows.detach(), max(1, _BLOCK_BYTES // max(1, rows[0].nbytes)))


def _near_mean(rows: Float[Tensor, "row dim"]) -> Float[Tensor, " dim"]:
    """Return the mean of the first rows, which takes the offset out before single precision rounds it."""
    first = _blocks(rows)[0].double().mean(dim=0)
    return first.to(rows.dtype).double()


def _shifted(rows: Float[Tensor, "row dim"], shift: Float[Tensor, " dim"]) -> Iterator[Tensor]:
    """Yield rows less the shift, block by block, always in the same memory."""
    blocks, near = _blocks(rows), shift.to(rows.dtype)
    work = torch.empty_like(blocks[0])
    for block in blocks:
        yield torch.sub(block, near, out=work[: len(block)])
