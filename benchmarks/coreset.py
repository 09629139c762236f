"""Greedy k-center over 50,000 x 1,536 patches to 1 %, beside the loop that libraries run.

The reference does what anomalib 2.7's KCenterGreedy does, written anew: after each pick one norm of all
differences, a minimum, a maximum. Both get the same projected patches, or the same 1,536 channels. Where
anomalib can be imported, its own class stands beside it, and both sides project by its projection. Patches
are 64 noisy clusters cut at zero. Source: numerics notes, "Greedy k-centre".
"""

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from time import perf_counter

import torch
from torch import Tensor

from benchmarks.measure import Measurement, absent, median_interval, one_thread, ratio
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
        yield library(patches, pairs=PAIRS)
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
    against = f"anomalib's loop on the same {patches.shape[1]} channels"
    yield ratio(name, _ratios(ours, theirs, pairs=pairs), against=against, target=TARGET)


def library(patches: Tensor, *, pairs: int) -> Measurement:
    """Return blocks over anomalib's own KCenterGreedy, both with its projection; or that it is absent."""
    try:
        greedy = import_module("anomalib.models.components.sampling").KCenterGreedy
    except ImportError as fault:
        return absent("coreset-anomalib", why=f"anomalib cannot be imported: {fault}")

    def theirs() -> object:
        sampler = greedy(embedding=patches, sampling_ratio=RATIO)
        sampler.select_coreset_idxs()
        return sampler.model

    project = theirs().transform
    count, dim = count_of(len(patches), RATIO), project(patches[:1]).shape[1]
    found = _ratios(lambda: k_center(project(patches), count), theirs, pairs=pairs)
    against = f"anomalib's KCenterGreedy with the same projection to {dim} channels, which both make"
    return ratio("coreset-anomalib", found, against=against, target=TARGET)


def _ratios(ours: Callable[[], object], theirs: Callable[[], object], *, pairs: int) -> list[float]:
    """Return ours over theirs in seconds, in pairs of alternating order; ours is warmed up."""
    ours()
    found = []
    for number in range(pairs):
        works = (theirs, ours) if number % 2 == 0 else (ours, theirs)
        seconds = {work: _seconds(work) for work in works}
        found.append(seconds[ours] / seconds[theirs])
    return found


def _seconds(work: Callable[[], object]) -> float:
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
