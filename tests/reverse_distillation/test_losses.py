"""The two losses against hand-made numbers, and the score map that is made of the second."""

import math

import pytest
import torch

from mechlab.errors import MechlabError
from reproductions.reverse_distillation.losses import (
    flat_distance,
    level_losses,
    loss_by_name,
    pixel_distances,
)
from reproductions.reverse_distillation.scoring import score_map

FORMS = ("flat", "pixel")


def maps(*, seed=0, count=3):
    draw = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(count, channels, side, side, generator=draw, dtype=torch.float64)
                 for channels, side in ((4, 8), (6, 4), (8, 2)))  # fmt: skip


def test_flat_and_pixel_are_two_losses_by_hand():
    # Two places of two channels: one is met, the other is turned by a quarter and three times as long.
    wanted = torch.tensor([[1.0, 3.0], [0.0, 0.0]], dtype=torch.float64).view(1, 2, 1, 2)
    found = torch.tensor([[1.0, 0.0], [0.0, 3.0]], dtype=torch.float64).view(1, 2, 1, 2)
    assert flat_distance(wanted, found).item() == pytest.approx(1 - 1 / 10)  # lengths are sqrt 10
    assert pixel_distances(wanted, found).flatten().tolist() == pytest.approx([0.0, 1.0])
    flat, pixel = (sum(level_losses((wanted,), (found,), form=form)).item() for form in FORMS)
    assert (flat, pixel) == pytest.approx((0.9, 0.5))


@pytest.mark.parametrize("form", FORMS)
def test_what_is_rebuilt_costs_nothing_and_its_opposite_two_a_level(form):
    wanted = maps()
    for factor, expected in ((1.0, 0.0), (0.5, 0.0), (-1.0, 2.0)):
        losses = level_losses(wanted, tuple(factor * level for level in wanted), form=form)
        assert [float(one) for one in losses] == pytest.approx([expected] * 3, abs=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_the_length_of_the_students_maps_does_not_matter(form):
    wanted, found = maps(), maps(seed=1)
    scaled = tuple(level * factor for level, factor in zip(found, (0.01, 3.0, 200.0), strict=True))
    before, after = (level_losses(wanted, one, form=form) for one in (found, scaled))
    torch.testing.assert_close(before, after, rtol=1e-10, atol=0)


def test_the_length_at_one_place_matters_to_flat_alone():
    wanted, found = maps(), maps(seed=1)
    louder = tuple(level.clone() for level in found)
    for level in louder:
        level[:, :, 0, 0] *= 5
    for form, is_moved in (("flat", True), ("pixel", False)):
        before, after = (level_losses(wanted, one, form=form) for one in (found, louder))
        moved = [
            not math.isclose(float(a), float(b), rel_tol=1e-9) for a, b in zip(before, after, strict=True)
        ]
        assert moved == [is_moved] * 3


@pytest.mark.parametrize("form", FORMS)
def test_a_loss_is_the_mean_of_its_images(form):
    wanted, found = maps(), maps(seed=1)
    whole = level_losses(wanted, found, form=form)
    alone = [
        level_losses(*(tuple(level[item : item + 1] for level in one) for one in (wanted, found)), form=form)
        for item in range(3)
    ]
    means = [torch.stack(one).mean() for one in zip(*alone, strict=True)]
    torch.testing.assert_close(list(whole), means)


def test_a_map_of_what_is_rebuilt_is_zero():
    found = score_map(maps(), tuple(3 * level for level in maps()), image_size=32)
    assert found.shape == (3, 32, 32)
    assert found.abs().max() < 1e-12


def test_a_defect_shows_at_its_place_and_nowhere_else():
    wanted = maps()
    rebuilt = tuple(level.clone() for level in wanted)
    rebuilt[0][1, :, 2, 5] *= -1  # of 8 places along a side
    found = score_map(wanted, rebuilt, image_size=64)
    # With aligned corners, place (2, 5) of 8 lies at pixel (2, 5) * 63 / 7; bilinear reach is one place.
    assert found[1, 18, 45].item() == pytest.approx(2.0)
    rows, columns = (found[1] > 1e-9).nonzero().T
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 26, 37, 53)
    assert found[[0, 2]].abs().max() < 1e-12


def test_levels_are_added_and_corners_are_aligned():
    wanted = maps()
    rebuilt = tuple(-level for level in wanted)
    for level in rebuilt:
        level[:, :, -1, -1] *= -1  # met at the last corner alone
    found = score_map(wanted, rebuilt, image_size=40)
    assert found[:, 0, 0].tolist() == pytest.approx([6.0] * 3)
    assert found[:, -1, -1].abs().max() < 1e-12


def test_gradients_of_a_run_are_recorded_under_the_mean_of_the_map():
    assert loss_by_name("mean")(torch.tensor([[[1.0, 3.0]]])) == 2
    with pytest.raises(MechlabError, match="no loss of rd is written 'tail:1:1'; use mean"):
        loss_by_name("tail:1:1")
