"""Greedy k-center: which patches to keep so that no patch is far from a kept one. Exact, in blocks.

Sequential greedy takes the patch farthest from those taken, again and again, and looks at every patch after
each. Here a pool of the patches that are farthest now is taken from in the same order, with distances within
the pool kept exact, for as long as the farthest one in the pool is farther than any patch outside could be
(distances only fall): so each pick is the one that sequential greedy makes. Then one matrix product brings
all other patches up to date. The order of sums differs, so in float32 two nearly equal patches may swap.
Source: Gonzalez 1985 (farthest-first); Sener & Savarese 2018 (coresets); Roth et al., CVPR 2022.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

POOL_SHARE, POOL_LEAST, POOL_MOST = 200, 256, 4096  # one patch in 200 is in the pool
BLOCK = 1 << 20  # distances that are computed at a time
Told = Callable[[int, int], None]  # picks so far, picks in all


def silent(_done: int, _total: int) -> None:
    """Tell nothing."""


def count_of(patches: int, ratio: float) -> int:
    """Return how many of `patches` a share is: rounded down, one at least."""
    return max(1, math.floor(patches * ratio + 1e-9))


def k_center(
    patches: Float[Tensor, "patch dim"], count: int, *, start: int = 0, told: Told = silent
) -> Int[Tensor, " count"]:
    """Return the indices of `count` patches in the order in which greedy k-center takes them, `start` first.

    Distances are Euclidean; of equally far patches the one of the lowest index is taken. On the device and in
    the precision of `patches`. `told` hears of every block.
    Raises ValueError for a count outside 1 to the number of patches, a start that is no index, and patches
    that are not finite.
    """
    if not 1 <= count <= len(patches) or not 0 <= start < len(patches):
        raise ValueError(f"cannot take {count} of {len(patches)} patches from patch {start} on")
    squares = torch.linalg.vecdot(patches, patches)
    if not torch.isfinite(squares).all():
        raise ValueError("patches must be finite, and so must their squared lengths")
    first = torch.tensor([start], device=patches.device)
    nearest = torch.full_like(squares, torch.inf)
    _approach(nearest, patches, squares, first)
    taken, done = [first], 1
    while done < count:
        picks = _block(nearest, patches, squares, most=count - done)
        _approach(nearest, patches, squares, picks)
        taken.append(picks)
        done += len(picks)
        told(done, count)
    return torch.cat(taken)


def covering_radius(
    patches: Float[Tensor, "patch dim"], kept: Int[Tensor, " kept"]
) -> Float[Tensor, " patch"]:
    """Return the distance of each patch to the nearest kept one; the largest is the covering radius."""
    squares = torch.linalg.vecdot(patches, patches)
    nearest = torch.full_like(squares, torch.inf)
    _approach(nearest, patches, squares, kept)
    nearest[kept] = 0.0
    return nearest.sqrt()


def _block(nearest: Tensor, patches: Tensor, squares: Tensor, *, most: int) -> Int[Tensor, " pick"]:
    """Return the next picks: those that the patches outside a pool of the farthest cannot contest."""
    size = min(len(nearest), max(POOL_LEAST, min(POOL_MOST, len(nearest) // POOL_SHARE)))
    far = torch.topk(nearest, min(size + 1, len(nearest)), sorted=True)
    outside = float(far.values[size]) if size < len(nearest) else -math.inf
    members = far.indices[:size].sort().values  # ascending, so that the first of equals is the lowest
    pool, own, near = patches[members], squares[members], nearest[members].clone()
    # Patches outside that tie with the farthest may have lower indices, so the first pick looks at all.
    best = int(torch.searchsorted(members, nearest.argmax()))
    if best >= size or members[best] != nearest.argmax():
        return nearest.argmax()[None]
    picked = []
    while True:
        picked.append(best)
        away = torch.addmv(own, pool, pool[best], alpha=-2.0).add_(own[best]).clamp_min_(0)
        torch.minimum(near, away, out=near)
        near[best] = -1.0  # taken
        best = int(near.argmax())
        if len(picked) == most or float(near[best]) <= outside or near[best] < 0:
            return members[torch.tensor(picked, device=members.device)]


def _approach(nearest: Tensor, patches: Tensor, squares: Tensor, picks: Int[Tensor, " pick"]) -> None:
    """Lower the squared distances of all patches to the nearest pick; picks themselves become -1."""
    centres = patches[picks]
    own = squares[picks][:, None]
    rows = max(1, BLOCK // len(picks))
    for begin in range(0, len(patches), rows):
        part = slice(begin, begin + rows)
        away = torch.addmm(own, centres, patches[part].T, alpha=-2.0).amin(dim=0)  # without the patch's own
        away.add_(squares[part]).clamp_min_(0)
        torch.minimum(nearest[part], away, out=nearest[part])
    nearest[picks] = -1.0
