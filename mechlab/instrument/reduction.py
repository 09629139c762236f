"""Reductions of what a hook sees, on the device and before anything is written.

`moments` are mean and variance of each channel over all places; `covariance` is centred, of channels;
`quantiles` are of all elements (of at most 65,536 evenly spaced ones, the ends exact); `subsample:k` keeps k
evenly spaced places of an image. Sums run block by block over rows, centred, with double-precision totals:
`torch.var_mean(dim=0)` takes 38 times as long. Where means are near 0, shorter ways give the same.
Source: numerics notes, "Recording overhead".
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
_PIECE = 256  # places whose squares add up in single precision to 1e-6 at worst
_FAR = 16.0  # squared mean over variance, from which an offset is taken out first
_FAR_OF_ROWS = 100.0  # the same where squares are of centred values, and only the mean has an error
_LONG = 2048  # elements of a row: as many sums go on side by side
_SUMMED = 1024  # rows that are summed in single precision
_NEAR = 16  # rows whose mean is the offset: any number near the mean will do, and few are quick


class Reduced(NamedTuple):
    """One array that a reduction gives: what joins the quantity's name, values, axes, unit, attributes."""

    name: str
    values: Float[Tensor, "*shape"]
    axes: tuple[str, ...]
    power: int = 1  # of the quantity's unit
    attributes: dict[str, Any] | None = None


def reduced(
    values: Tensor, axes: tuple[str, ...], reduction: str, *, work: Float[Tensor, " block"] | None = None
) -> Iterator[Reduced]:
    """Yield what a reduction of `values` gives; `axes` name its dimensions, without any that grows later.

    `work` is memory of `half.scratch`; who reduces often keeps one, because fresh memory is slow to touch.

    Raises MechlabError where the axes do not allow the reduction.
    """
    kind, _, number = reduction.partition(":")
    if kind == "quantiles":
        attributes = {"probabilities": list(PROBABILITIES)}
        yield Reduced("quantiles", quantiles(values), ("quantile",), 1, attributes)
    elif kind == "subsample":
        yield subsample(values, axes, places=int(number))
    else:
        if kind == "covariance":
            yield Reduced("covariance", covariance(channel_rows(values, axes)), ("dim", "dim_other"), 2)
            return
        planes = channel_planes(values, axes)
        if planes is None:
            mean, variance = moments(channel_rows(values, axes), work=work)
        else:
            mean, variance = plane_moments(planes, work=work)
        yield Reduced("mean", mean, ("dim",))
        yield Reduced("variance", variance, ("dim",), 2)


def channel_rows(values: Tensor, axes: tuple[str, ...]) -> Float[Tensor, "row dim"]:
    """Return one row a place: channels last, everything else flattened; a tensor without channels is one."""
    found = [axis for axis in CHANNELS if axis in axes]
    values = values if values.dtype in (torch.float32, torch.float64) else values.float()
    if not found:
        return values.reshape(-1, 1)
    at = axes.index(found[0])
    last = values if at == values.ndim - 1 else values.movedim(at, -1)
    return last.reshape(-1, values.shape[at])


def channel_planes(values: Tensor, axes: tuple[str, ...]) -> Float[Tensor, "item dim place"] | None:
    """Return images with their places flattened where the channels come second, without a copy; else None."""
    is_wide = values.dtype in (torch.float32, torch.float64)
    if values.ndim < 3 or axes[1] not in CHANNELS or not is_wide or not values.is_contiguous():
        return None
    return values.detach().flatten(2)


def moments(
    rows: Float[Tensor, "row dim"], *, work: Float[Tensor, " block"] | None = None
) -> tuple[Float[Tensor, " dim"], Float[Tensor, " dim"]]:
    """Return the mean and the variance (divided by the number of rows) of each column, in float64."""
    found = _block_moments(rows) if rows.device.type == "cpu" and rows.is_contiguous() else None
    if found is not None:
        return found
    shift, ones = _near_mean(rows), rows.new_ones(len(_blocks(rows)[0]))
    totals, squares = [], []
    for block in _shifted(rows, shift, work=work):
        totals.append(block.sum(dim=0))  # in pairs: a mean has no error to spare for a product's running sum
        squares.append(ones[: len(block)] @ block.square_())
    return _moments_of(totals, squares, shift, count=len(rows))


def _block_moments(
    rows: Float[Tensor, "row dim"],
) -> tuple[Float[Tensor, " dim"], Float[Tensor, " dim"]] | None:
    """Return mean and variance from those of blocks, in half the time; None where a mean is far from 0.

    Those of a block are the statistics of batch normalisation, centred, which torch computes in two quick
    passes where channels lie last. Several short rows are taken as one long row, so that sums stay short.
    """
    joined = _joined(len(rows), dim=rows.shape[1])
    blocks = torch.split(rows.detach().view(-1, joined * rows.shape[1]), _SUMMED)
    images = (block.view(1, 1, *block.shape).permute(0, 3, 1, 2) for block in blocks)
    found = [torch.batch_norm_update_stats(image, None, None, 0.0) for image in images]
    means, within = (torch.stack(each).double() for each in zip(*found, strict=True))
    share = torch.tensor([len(block) for block in blocks], dtype=torch.float64).div_(sum(map(len, blocks)))
    mean = (share @ means).view(joined, -1).mean(dim=0)
    away = means.view(len(blocks), joined, -1).sub_(mean).square_()
    variance = (share @ within.add_(away.view_as(within))).view(joined, -1).mean(dim=0)
    is_near = bool((mean.square() <= variance * _FAR_OF_ROWS).all())  # never of NaN
    return (mean, variance) if is_near else None


def _joined(rows: int, *, dim: int) -> int:
    """Return how many rows one after another are taken as one: a power of two that divides their number."""
    joined = 1
    while rows % (2 * joined) == 0 and 2 * joined * dim <= _LONG:
        joined *= 2
    return joined


def plane_moments(
    planes: Float[Tensor, "item dim place"], *, work: Float[Tensor, " block"] | None = None
) -> tuple[Float[Tensor, " dim"], Float[Tensor, " dim"]]:
    """Return what `moments` does with every place a row; turning images into rows would copy them.

    A block is as many images as fit, or a part of the places of one: many small calls cost more than sums.
    """
    found = _plain_moments(planes) if planes.device.type == "cpu" else None
    if found is not None:
        return found
    items, dim, places = planes.shape
    near = planes[0, :, :_NEAR].mean(dim=1, keepdim=True)
    width = max(1, min(places, _BLOCK_BYTES // (dim * planes.itemsize)))
    group = max(1, min(items, _BLOCK_BYTES // (dim * width * planes.itemsize)))
    place = _memory(group * dim * width, like=planes, work=work)
    totals, squares = [], []
    for images in torch.split(planes, group):
        for block in torch.split(images, width, dim=2):
            shifted = torch.sub(block, near, out=place[: block.numel()].view(block.shape))
            totals.append(shifted.sum(dim=(0, 2)))
            squares.append(shifted.square_().sum(dim=(0, 2)))
    return _moments_of(totals, squares, near.squeeze(1).double(), count=items * places)


def _plain_moments(
    planes: Float[Tensor, "item dim place"],
) -> tuple[Float[Tensor, " dim"], Float[Tensor, " dim"]] | None:
    """Return mean and variance from plain sums, in half the time; None where a mean is far from 0 for that.

    Sums of squares are taken over short pieces and joined in double precision. The difference that is the
    variance loses as many digits as the squared mean is larger. Not for a GPU, which would wait to be asked.
    """
    items, dim, places = planes.shape
    piece = next(size for size in range(min(places, _PIECE), 0, -1) if places % size == 0)
    if piece < _NEAR:
        return None
    count = items * places
    norms = torch.linalg.vector_norm(planes.view(items, dim, places // piece, piece), dim=3)
    squares = norms.square_().sum(dim=(0, 2), dtype=torch.float64)
    total = planes.sum(dim=2).sum(dim=0, dtype=torch.float64)
    # Squared mean <= _FAR times variance, in sums, because every call after the product is a slow one.
    least = torch.addcmul(squares, total, total, value=-(1 + 1 / _FAR) / count).min()
    if not float(least) >= 0.0:  # also of NaN
        return None
    mean = total.div_(count)
    return mean, torch.addcmul(squares.div_(count), mean, mean, value=-1)


def _moments_of(
    totals: list[Tensor], squares: list[Tensor], shift: Float[Tensor, " dim"], *, count: int
) -> tuple[Float[Tensor, " dim"], Float[Tensor, " dim"]]:
    """Return mean and variance from the sums of blocks, and of their squares, of values less the shift."""
    sums = torch.stack([*totals, *squares]).view(2, len(totals), -1).sum(dim=1, dtype=torch.float64)
    first, second = (sums / count).unbind()
    return shift + first, torch.addcmul(second, first, first, value=-1)


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
    """Return the mean of a few rows: about the offset, to be taken out before sums are rounded."""
    return rows[:_NEAR].detach().mean(dim=0).double()


def _shifted(
    rows: Float[Tensor, "row dim"], shift: Float[Tensor, " dim"], *, work: Tensor | None = None
) -> Iterator[Tensor]:
    """Yield rows less the shift, block by block, always in the same memory: in `work`, where it fits."""
    blocks, near = _blocks(rows), shift.to(rows.dtype)
    place = _memory(blocks[0].numel(), like=rows, work=work).view(blocks[0].shape)
    for block in blocks:
        yield torch.sub(block, near, out=place[: len(block)])


def _memory(count: int, *, like: Tensor, work: Tensor | None) -> Float[Tensor, " count"]:
    """Return memory for `count` elements of the type of `like`: the given, where it fits."""
    if work is None or (work.dtype, work.device) != (like.dtype, like.device) or work.numel() < count:
        return torch.empty(count, dtype=like.dtype, device=like.device)
    return work[:count]
