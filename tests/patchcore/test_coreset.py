"""Greedy k-center by nested pools: the picks of sequential greedy one by one, and the cover it promises."""

import numpy as np
import pytest
import torch

from reproductions.patchcore import coreset
from reproductions.patchcore.coreset import count_of, covering_radius, k_center


def sequential(patches, count, start):
    """Farthest-first as it is written down: after each pick, the distance of every patch to it."""
    values = patches.double().numpy()
    nearest, taken = np.full(len(values), np.inf), [start]
    while True:
        nearest = np.minimum(nearest, ((values - values[taken[-1]]) ** 2).sum(axis=1))
        nearest[taken] = -1.0
        if len(taken) == count:
            return taken
        taken.append(int(nearest.argmax()))


def clustered(rng, count, dim):
    centres = rng.standard_normal((12, dim))
    return torch.from_numpy(centres[rng.integers(12, size=count)] + 0.3 * rng.standard_normal((count, dim)))


@pytest.mark.parametrize(("count", "dim", "picks"), [(3000, 16, 300), (2000, 2, 500), (700, 64, 700)])
@pytest.mark.parametrize(("share", "least"), [(2, 1), (3, 16), (16, 256), (500, 4)],
                         ids=["halves to one", "thirds", "as it is", "one small pool"])  # fmt: skip
def test_index_for_index_the_picks_of_sequential_greedy(rng, monkeypatch, count, dim, picks, share, least):
    monkeypatch.setattr(coreset, "SHARE", share)
    monkeypatch.setattr(coreset, "LEAST", least)
    monkeypatch.setattr(coreset, "BLOCK", 5000)  # several chunks
    patches = clustered(rng, count, dim)
    assert k_center(patches, picks, start=7).tolist() == sequential(patches, picks, 7)


@pytest.mark.parametrize("least", [1, 8, 256])
def test_of_equally_far_patches_the_first_is_taken(rng, monkeypatch, least):
    monkeypatch.setattr(coreset, "LEAST", least)
    grid = torch.from_numpy(np.stack(np.mgrid[:20, :20], axis=-1).reshape(-1, 2).astype(float))
    patches = grid[torch.from_numpy(rng.permutation(400))]
    assert k_center(patches, 400, start=3).tolist() == sequential(patches, 400, 3)


def test_every_patch_can_be_taken_once_though_some_are_equal(rng):
    patches = clustered(rng, 200, 4)[torch.from_numpy(rng.integers(0, 40, 200))]
    taken = k_center(patches, 200, start=0)
    assert sorted(taken.tolist()) == list(range(200))


def test_single_precision_takes_nearly_the_same(rng):
    patches = clustered(rng, 3000, 32)
    double, single = (
        set(k_center(patches.to(kind), 100).tolist()) for kind in (torch.float64, torch.float32)
    )
    assert len(double & single) >= 95


def test_the_cover_is_at_most_twice_the_best_and_shrinks(rng):
    patches = torch.cat([torch.full((50, 3), float(centre)) for centre in (0, 10, 20, 30)])
    patches = patches + 0.1 * torch.from_numpy(rng.random((200, 3))).float()
    four, three = (covering_radius(patches, k_center(patches, count)).max() for count in (4, 3))
    assert four <= 2 * 0.1 * 3**0.5 < 5 < three
    radii = [float(covering_radius(patches, k_center(patches, count)).max()) for count in (1, 2, 4, 8, 200)]
    assert radii == sorted(radii, reverse=True) and radii[-1] == 0


def test_turning_and_moving_all_patches_changes_nothing(rng):
    patches = clustered(rng, 1000, 8)
    turn = torch.linalg.qr(torch.from_numpy(rng.standard_normal((8, 8)))).Q
    assert k_center(patches @ turn + 1.0, 80).tolist() == k_center(patches, 80).tolist()


def test_progress_is_told_up_to_the_end(rng, monkeypatch):
    monkeypatch.setattr(coreset, "LEAST", 8)  # three pools within each other
    told = []
    k_center(clustered(rng, 2000, 8), 100, told=lambda done, total: told.append((done, total)))
    assert told[-1] == (100, 100) and told == sorted(told) and len(told) > 10


def test_most_patches_are_brought_up_to_date_seldom(rng, monkeypatch):
    seen = []
    approach = coreset._Pool.approach
    monkeypatch.setattr(
        coreset._Pool, "approach", lambda pool, picks: (seen.append(len(pool)), approach(pool, picks))
    )
    monkeypatch.setattr(coreset, "LEAST", 16)
    k_center(clustered(rng, 4000, 32), 400)
    assert seen.count(4000) < 400 / 5


@pytest.mark.parametrize(("patches", "ratio", "count"), [(50_000, 0.01, 500), (10, 0.01, 1), (300, 0.29, 87)])
def test_a_share_of_patches(patches, ratio, count):
    assert count_of(patches, ratio) == count


def test_bad_input_is_refused(rng):
    patches = clustered(rng, 20, 3)
    for count, start in ((0, 0), (21, 0), (5, 20)):
        with pytest.raises(ValueError, match="cannot take"):
            k_center(patches, count, start=start)
    patches[3, 1] = torch.nan
    with pytest.raises(ValueError, match="finite"):
        k_center(patches, 5)
