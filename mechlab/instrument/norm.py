"""Euclidean norms of large tensors, quick and good to the last digits of single precision.

torch's norm in single precision is off by 1e-3 for a large tensor on CPU, and in double precision four times
as slow as it could be. Pieces of 64 elements are summed in single precision, and their norms in
double. Source: numerics notes, "CKA and SVD", pitfall b.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

_PIECE = 64  # elements: their squares add up in single precision without loss
_PARTS = 4  # of an axis whose squares are added up
_SMALL = 2**14  # elements: up to here double precision is quick enough
_LOW, _HIGH = 1e-12, 1e12  # where no square that matters leaves the range of single precision


def norm(values: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Return the Euclidean norm over all elements as float64, within 1e-7 of the exact one."""
    flat = values.detach().reshape(-1)
    whole = flat.numel() // _PIECE * _PIECE
    if flat.dtype == torch.float32 and whole > _SMALL:
        pieces = torch.linalg.vector_norm(flat[:whole].view(-1, _PIECE), dim=1).double()
        if whole < flat.numel():
            pieces = torch.cat([pieces, flat[whole:].double()])
        found: Tensor = torch.linalg.vector_norm(pieces)
        if _LOW < float(found) < _HIGH:
            return found
    exact: Tensor = torch.linalg.vector_norm(flat, dtype=torch.float64)
    return exact


def norms(tensors: Sequence[Float[Tensor, "..."]]) -> list[Float[Tensor, ""]]:
    """Return `norm` of each tensor; small ones in one call, because a call costs more than their sums."""
    small = [place for place, values in enumerate(tensors) if 0 < values.numel() <= _SMALL]
    known: dict[int, Tensor] = {}
    if small:
        found = torch._foreach_norm([tensors[place].detach() for place in small], 2, dtype=torch.float64)
        known = dict(zip(small, found, strict=True))
    return [known[place] if place in known else norm(values) for place, values in enumerate(tensors)]


def norm_along(
    values: Float[Tensor, "*shape"], axis: int, *, work: Float[Tensor, " block"] | None = None
) -> Float[Tensor, "*rest"]:
    """Return the Euclidean norm over one axis, in the precision of the values (float32 at least).

    `work` is memory for squares; where a quarter of `values` does not fit into it, fresh memory is taken.
    """
    wide = values.detach() if values.dtype == torch.float64 else values.detach().float()
    if axis == values.ndim - 1:
        along: Tensor = torch.linalg.vector_norm(wide, dim=axis)
        return along
    # Along another axis torch's norm takes ten times as long: the squares of a quarter, then the others on it
    first, *others = torch.split(wide, -(-wide.shape[axis] // _PARTS), dim=axis)
    squares = _squared(first, work=work)
    for part in others:
        length = part.shape[axis]  # the last may be shorter
        onto = squares if length == first.shape[axis] else squares.narrow(axis, 0, length)
        onto.addcmul_(part, part)
    return squares.sum(dim=axis).sqrt_()


def _squared(values: Float[Tensor, "*shape"], *, work: Float[Tensor, " block"] | None) -> Tensor:
    """Return the squares, in `work` where they fit: fresh memory is slow to touch."""
    fits = work is not None and work.numel() >= values.numel()
    if work is None or not fits or (work.dtype, work.device) != (values.dtype, values.device):
        return values.square()
    return torch.mul(values, values, out=work[: values.numel()].view(values.shape))
