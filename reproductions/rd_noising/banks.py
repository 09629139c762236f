"""Phase 1 of RD-Noising: which places of a level stand for the normals.

Greedy k-center keeps a share of all of them; of more than `most` a seeded sample is thinned instead, to as
many as the share of all would be. Source: notes 000; the limit of 100,000 is that of its code.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from reproductions.backbones.pyramid import Pyramid
from reproductions.patchcore.coreset import count_of, k_center
from reproductions.patchcore.progress import bar

IMAGES = 16  # unpacked at a time


def level_bank(
    features: Float[np.ndarray, "item row column dim"],
    pyramid: Pyramid,
    *,
    level: int,
    ratio: float,
    most: int,
    seed: Sequence[int],
) -> Float[Tensor, "kept channel"]:
    """Return the places that are kept of a level of a task's packed pyramids, a random one first."""
    places = pyramid.grid[0] * pyramid.grid[1] * pyramid.levels[level].factor ** 2
    draws = np.random.default_rng(seed)
    count = len(features) * places
    chosen = sample(count, most=most, draws=draws)
    parts = []
    for start in range(0, len(features), IMAGES):
        cells = torch.from_numpy(np.array(features[start : start + IMAGES]))
        inside = chosen[(chosen >= start * places) & (chosen < (start + len(cells)) * places)]
        values = pyramid.unpacked(cells)[level].movedim(1, -1).flatten(0, 2)  # place, channel
        parts.append(values[torch.from_numpy(inside - start * places)])
    found = torch.cat(parts)
    name = f"the bank of {pyramid.levels[level].name}"
    return found[thinned(found, min(count_of(count, ratio), len(found)), draws=draws, name=name)]


def sample(count: int, *, most: int, draws: np.random.Generator) -> Int[np.ndarray, " chosen"]:
    """Return the numbers of `count` places, ascending: all of them, or a sample of `most`."""
    if count <= most:
        return np.arange(count)
    return np.sort(draws.choice(count, most, replace=False))


def thinned(
    patches: Float[Tensor, "patch dim"], count: int, *, draws: np.random.Generator, name: str
) -> Int[Tensor, " kept"]:
    """Return the indices that greedy k-center keeps, a random one first; progress is told of `name`."""
    start = int(draws.integers(len(patches)))
    with bar(name) as told:
        return k_center(patches, count, start=start, told=told)
