"""Greedy k-center: which patches to keep so that no patch is far from a kept one. Exact, by nested pools.

Sequential greedy takes the patch farthest from those taken, again and again, and looks at every patch after
each. Here a pool of the patches that are farthest now is taken from in the same order, with distances within
the pool kept exact, for as long as the farthest one in the pool is farther than any patch outside could be
(distances only fall): so each pick is the one that sequential greedy makes. Then one matrix product brings
all other patches up to date. A pool is taken from by a smaller pool within it, down to a few hundred patches
whose distances to each other are one table, so that most patches are looked at once in hundreds of picks.
The order of sums differs, so in float32 two nearly equal patches may swap.
Source: Gonzalez 1985 (farthest-first); Sener & Savarese 2018 (coresets); Roth et al., CVPR 2022.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

SHARE, LEAST = 16, 256  # a pool holds one patch in so many, and so many at least
BLOCK = 1 << 20  # distances that are computed at a time
Told = Callable[[int, int], None]  # picks so far, picks in all


def silent(_done: int, _total: int) -> None:
    """Tell nothing."""


def count_of(patches: int, ratio: float) -> int:
    """Return how many of `patches` a share is: rounded down, one at least."""
    return max(1, math.floor(patches * ratio + 1e-9))


@dataclass(frozen=True, slots=True)
class _Pool:
    """Patches with their squared lengths and squared distances to the nearest pick, -1 for picks."""

    patches: Float[Tensor, "patch dim"]
    squares: Float[Tensor, " patch"]
    nearest: Float[Tensor, " patch"]

    def __len__(self) -> int:
        return len(self.nearest)

    def part(self, members: Int[Tensor, " member"]) -> "_Pool":
        """Return a copy of some of the patches."""
        return _Pool(self.patches[members], self.squares[members], self.nearest[members])

    def farthest(self) -> tuple[Int[Tensor, " member"], float]:
        """Return the indices of the farthest patches, ascending, and how far any other is at most."""
        size = max(LEAST, len(self) // SHARE)
        far = torch.topk(self.nearest, size + 1, sorted=True)
        return far.indices[:size].sort().values, float(far.values[size])

    def approach(self, picks: Int[Tensor, " pick"]) -> None:
        """Lower the squared distances of all patches to the nearest pick; picks themselves become -1."""
        centres, own = self.patches[picks], self.squares[picks][:, None]
        rows = max(1, BLOCK // len(picks))
        for begin in range(0, len(self), rows):
            part = slice(begin, begin + rows)
            away = torch.addmm(own, centres, self.patches[part].T, alpha=-2.0).amin(dim=0)  # without its own
            away.add_(self.squares[part]).clamp_min_(0)
            torch.minimum(self.nearest[part], away, out=self.nearest[part])
        self.nearest[picks] = -1.0


def k_center(
    patches: Float[Tensor, "patch dim"], count: int, *, start: int = 0, told: Told = silent
) -> Int[Tensor, " count"]:
    """Return the indices of `count` patches in the order in which greedy k-center takes them, `start` first.

    Distances are Euclidean; of equally far patches the one of the lowest index is taken. On the device and in
    the precision of `patches`. `told` hears of every pool.
    Raises ValueError for a count outside 1 to the number of patches, a start that is no index, and patches
    that are not finite.
    """
    if not 1 <= count <= len(patches) or not 0 <= start < len(patches):
        raise ValueError(f"cannot take {count} of {len(patches)} patches from patch {start} on")
    pool = _begun(patches)
    first = torch.tensor([start], device=patches.device)
    pool.approach(first)
    rest = _taken(pool, floor=-1.0, most=count - 1, told=lambda more: told(1 + more, count))
    return torch.cat([first, rest])


def covering_radius(
    patches: Float[Tensor, "patch dim"], kept: Int[Tensor, " kept"]
) -> Float[Tensor, " patch"]:
    """Return the distance of each patch to the nearest kept one; the largest is the covering radius."""
    pool = _begun(patches)
    pool.approach(kept)
    return pool.nearest.clamp_min_(0).sqrt_()


def _begun(patches: Tensor) -> _Pool:
    squares = torch.linalg.vecdot(patches, patches)
    if not torch.isfinite(squares).all():
        raise ValueError("patches must be finite, and so must their squared lengths")
    return _Pool(patches, squares, torch.full_like(squares, torch.inf))


def _taken(pool: _Pool, *, floor: float, most: int, told: Callable[[int], None]) -> Int[Tensor, " pick"]:
    """Take up to `most` patches of a pool while the farthest is farther than `floor`; return their places."""
    if len(pool) <= LEAST:
        return _one_by_one(pool, floor=floor, most=most)
    taken, done = [torch.empty(0, dtype=torch.int64, device=pool.nearest.device)], 0
    while done < most and float(pool.nearest.max()) > floor:
        members, outside = pool.farthest()
        inner = pool.part(members)
        picks = members[_taken(inner, floor=max(floor, outside), most=most - done, told=_further(told, done))]
        if not len(picks):  # some outside are as far as the farthest, and may have lower indices
            picks = pool.nearest.argmax()[None]
        taken.append(picks)
        done += len(picks)
        told(done)
        if done < most:  # else nothing is taken any more
            pool.approach(picks)
    return torch.cat(taken)


def _further(told: Callable[[int], None], done: int) -> Callable[[int], None]:
    return lambda more: told(done + more)


def _one_by_one(pool: _Pool, *, floor: float, most: int) -> Int[Tensor, " pick"]:
    """Do as `_taken` by a table of all squared distances, without a word of `told`."""
    table = torch.addmm(pool.squares, pool.patches, pool.patches.T, alpha=-2.0)
    away = table.add_(pool.squares[:, None]).clamp_min_(0).cpu().numpy()
    near, picked = pool.nearest.cpu().numpy().copy(), []
    best = int(near.argmax())
    while len(picked) < most and near[best] > floor:
        picked.append(best)
        np.minimum(near, away[best], out=near)
        near[best] = -1.0
        best = int(near.argmax())
    return torch.tensor(picked, dtype=torch.int64, device=pool.nearest.device)
