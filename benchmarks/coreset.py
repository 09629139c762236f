"""Greedy k-center over 50,000 x 1,536 patches to 1 %, beside the loop that libraries run.

The reference does what anomalib 2.7's KCenterGreedy does, written anew (its package is not asked for): after
each pick one norm of all differences, a minimum, a maximum. Both get the same projected patches, or the same
1,536 channels. Patches are 64 noisy clusters cut at zero. Source: numerics notes, "Greedy k-centre".
"""

from collections.abc import Iterator
from functools import partial
from time import perf_counter

import torch
from torch import Tensor

from benchmarks.measure import Measurement, median_interval, one_thread, ratio
from reproductions.patchcore.coreset import count_of, k_center
from reproductions.patchcore.projection import projection

PATCHES, DIM, RATIO = 50_000, 1536, 0.01
JL_DIM, ROTH_DIM = 267, 128  # anomalib's for 50,000 patches at eps 0.9; that of Roth et al.
PAIRS, TARGET = 5, 1 / 10
PICKS_EXACT, PATCHES_EXACT = 500, 5000


def measure() -> Iterator[Measurement]:
    """Yield ratios at two projections and without, and how many indices differ in float64."""
    patches = clustered(PATCHES, DIM)
    with one_thread():
        for dim in (JL_DIM, ROTH_DIM):
            thin = patches @ projection("sparse", dim=DIM, to=dim, seed=[0])
            yield from compared(thin, name=f"coreset-{dim}", pairs=PAIRS)
        yield from compared(patches, name="coreset", pairs=1)
    yield exactness()


def clustered(count: int, dim: int, *, seed: int = 0, clusters: int = 64) -> Tensor:
    """Return patches of noisy clusters cut at zero, as activations are."""
    draw = torch.Generator().manual_seed(seed)
    centres = torch.randn(clusters, dim, generator=draw)
    chosen = centres[torch.randint(clusters, (count,), generator=draw)]
    return (chosen + 0.3 * torch.randn(count, dim, generator=draw)).relu_()


def compared(patches: Tensor, *, name: str, pairs: int) -> Iterator[Measurement]:
    """Yield blocks over the loop, interleaved, of as many picks."""
    count = count_of(len(patches), RATIO)
    ours, theirs = partial(k_center, patches, count), partial(loop, patches, count)
    ours()
    found = []
    for number in range(pairs):
        works = (theirs, ours) if number % 2 == 0 else (ours, theirs)
        seconds = {work: _seconds(work) for work in works}
        found.append(seconds[ours] / seconds[theirs])
    against = f"anomalib's loop on the same {patches.shape[1]} channels"
    yield ratio(name, found, against=against, target=TARGET)


def _seconds(work: partial[object]) -> float:
    began = perf_counter()
    work()
    return perf_counter() - began


def loop(patches: Tensor, count: int, *, start: int = 0) -> list[int]:
    """Return the picks of the loop: all differences to the last pick, their norms, minimum, maximum."""
    nearest: Tensor | None = None
    picked = [start]
    while True:
        away = torch.linalg.norm(patches - patches[picked[-1]], ord=2, dim=1, keepdim=True)
        nearest = away if nearest is None else torch.minimum(nearest, away)
        if len(picked) == count:
            return picked
        nearest[picked[-1]] = 0.0
        picked.append(int(nearest.squeeze(1).max(dim=0).indices))


def exactness() -> Measurement:
    """Return how many of the picks in float64 are not those of the loop, in place."""
    patches = clustered(PATCHES_EXACT, DIM, seed=1).double()
    ours = k_center(patches, PICKS_EXACT).tolist()
    wrong = sum(one != two for one, two in zip(ours, loop(patches, PICKS_EXACT), strict=True))
    return Measurement(name="coreset-exact", value=float(wrong), unit="ratio",
                       against=f"the loop in float64, index for index: picks of {PICKS_EXACT} that differ",
                       target=0.0, n=PICKS_EXACT, interval=median_interval([float(wrong)]))  # fmt: skip
