"""Banks of each level: a share of its places, as they are, from a sample where there are many."""

import numpy as np
import pytest
import torch

from reproductions.backbones.pyramid import Level, Pyramid
from reproductions.rd_noising.banks import level_bank, sample

LEVELS = (Level(name="a", channels=2, factor=4), Level(name="b", channels=3, factor=2),
          Level(name="c", channels=5, factor=1))  # fmt: skip


@pytest.fixture
def pyramid():
    return Pyramid(backbone="made-up", image_size=32, levels=LEVELS, grid=(2, 2))


@pytest.fixture
def maps(rng):
    return [torch.from_numpy(rng.standard_normal((20, one.channels, 2 * one.factor, 2 * one.factor))).float()
            for one in LEVELS]  # fmt: skip


def bank(pyramid, maps, level, *, ratio=0.1, most=100_000, seed=0):
    cells = pyramid.packed(maps).numpy()
    return level_bank(cells, pyramid, level=level, ratio=ratio, most=most, seed=[seed])


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_bank_is_a_share_of_the_places_of_its_own_level(pyramid, maps, level):
    found = bank(pyramid, maps, level)
    places = maps[level].movedim(1, -1).flatten(0, 2)
    assert found.shape == (len(places) // 10, LEVELS[level].channels)
    assert (found[:, None] == places[None]).all(dim=2).any(dim=1).all()
    assert len(found.unique(dim=0)) == len(found)


def test_of_many_places_a_seeded_sample_is_thinned_to_the_share_of_all(pyramid, maps):
    few, again, other = (bank(pyramid, maps, 0, most=150, seed=seed) for seed in (0, 0, 1))
    assert len(few) == 128 and torch.equal(few, again) and not torch.equal(few, other)
    assert len(bank(pyramid, maps, 0, most=100)) == 100, "no more than the sample holds"
    assert len(bank(pyramid, maps, 0, ratio=1.0)) == 20 * 64


def test_the_bank_reaches_a_place_that_is_far_from_all_others(pyramid, maps):
    maps[1][13, :, 2, 1] = 50.0
    assert (bank(pyramid, maps, 1, ratio=0.02) == 50).all(dim=1).sum() == 1


def test_a_sample_holds_each_number_once():
    draws = np.random.default_rng(0)
    assert sample(50, most=50, draws=draws).tolist() == list(range(50))
    found = sample(1000, most=300, draws=draws)
    assert len(set(found.tolist())) == 300 and (np.diff(found) > 0).all()
    assert found.mean() == pytest.approx(500, abs=4 * 289 / 300**0.5), "of all, not of the first"


def test_the_sample_is_of_the_places_that_were_drawn(pyramid, maps):
    places = maps[1].movedim(1, -1).flatten(0, 2)
    drawn = sample(len(places), most=100, draws=np.random.default_rng([0]))
    found = bank(pyramid, maps, 1, ratio=1.0, most=100)
    assert sorted(found.tolist()) == sorted(places[drawn].tolist())
