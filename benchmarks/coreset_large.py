"""A memory of 3.7 million patches thinned to 1 %: how long, in how much memory; and what a sample would cost.

As many patches as AutoVI's tank_screw has at 1000 x 750 pixels (318 images of 11,750), streamed in chunks of
1,536 channels, each projected to 128, then the exact greedy of `reproductions.patchcore.coreset` on all
cores, in a process of its own; progress and the time left stand on standard error. Then, on fewer patches,
the covering radius when greedy sees only a seeded sample (`max_patches`), and when the bank is a random
subset. `python -m benchmarks.coreset_large PATCHES` runs a memory of another size. Source: notes 002.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from resource import RUSAGE_SELF, getrusage
from time import monotonic

import numpy as np
import torch
from torch import Tensor

from benchmarks.coreset import DIM, RATIO, ROTH_DIM, clustered
from benchmarks.measure import Measurement, ratio
from reproductions.patchcore.coreset import Told, count_of, covering_radius, k_center
from reproductions.patchcore.projection import projection

PATCHES, SECONDS, MEGABYTES = 3_736_500, 900.0, 8000.0
CHUNK, EVERY_SECONDS = 20_000, 10.0
FEWER, SAMPLES, SEEDS = 200_000, (20_000, 4_000), 5  # of 2,000 that are kept: ten times and twice as many


def measure() -> Iterator[Measurement]:
    """Yield seconds and memory of the whole, then what samples cost in covering radius."""
    command = [sys.executable, "-m", "benchmarks.coreset_large", str(PATCHES)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout)
    what = f"{found['patches']} patches to {found['kept']}, {found['threads']} threads"
    yield _once("coreset-large", found["seconds"], "s", f"{what}, streaming included", SECONDS)
    yield _once("coreset-large-greedy", found["seconds_coreset"], "s", f"{what}, without streaming", None)
    yield _once("coreset-large-memory", found["peak_MB"], "MB", f"{what}: largest resident set", MEGABYTES)
    yield from samples()


def _once(name: str, value: float, unit: str, against: str, target: float | None) -> Measurement:
    return Measurement(name=name, value=value, unit=unit, against=against, target=target,  # type: ignore[arg-type]
                       n=1, interval=(value, value))  # fmt: skip


def millions(patches: int, *, dim: int = DIM, to: int = ROTH_DIM) -> dict[str, float]:
    """Stream patches in, project each chunk, choose 1 % of them; return seconds and peak memory."""
    began, matrix = monotonic(), projection("gaussian", dim=dim, to=to, seed=[0])
    thin = torch.empty(patches, to)
    for number, begin in enumerate(range(0, patches, CHUNK)):
        part = clustered(min(CHUNK, patches - begin), dim, seed=number)
        torch.matmul(part, matrix, out=thin[begin : begin + len(part)])
    streamed = monotonic()
    kept = k_center(thin, count_of(patches, RATIO), told=lines())
    done = monotonic()
    return {"patches": patches, "kept": len(kept), "seconds_streaming": round(streamed - began, 1),
            "seconds_coreset": round(done - streamed, 1), "seconds": round(done - began, 1),
            "peak_MB": round(getrusage(RUSAGE_SELF).ru_maxrss / 1e3), "threads": torch.get_num_threads(),
            "cores": os.cpu_count() or 0}  # fmt: skip


def lines() -> Told:
    """Return what prints progress and the time that is left on standard error, every ten seconds."""
    began = last = monotonic()

    def told(done: int, total: int) -> None:
        nonlocal last
        now = monotonic()
        if now - last > EVERY_SECONDS or done == total:
            last, left = now, (now - began) * (total - done) / done
            print(f"{done} of {total} picks, {left:.0f} s left", file=sys.stderr, flush=True)

    return told


def samples() -> Iterator[Measurement]:
    """Yield the covering radius over that of greedy on all patches: from samples, and of random subsets."""
    patches = clustered(FEWER, DIM) @ projection("gaussian", dim=DIM, to=ROTH_DIM, seed=[0])
    count = count_of(FEWER, RATIO)
    exact = _radius(patches, k_center(patches, count))
    for size in (*SAMPLES, count):
        found = []
        for seed in range(SEEDS):
            drawn = torch.from_numpy(np.random.default_rng(seed).choice(FEWER, size, replace=False))
            kept = drawn if size == count else drawn[k_center(patches[drawn], count)]
            found.append(_radius(patches, kept) / exact)
        name = "random" if size == count else f"sample-{size // count}"
        against = f"greedy on all {FEWER} patches to {count}: covering radius"
        yield ratio(f"coreset-large-{name}", found, against=against, target=None)


def _radius(patches: Tensor, kept: Tensor) -> float:
    return float(covering_radius(patches, kept).max())


if __name__ == "__main__":
    print(json.dumps(millions(int(sys.argv[1]))))
