"""Positions: turned with the image, with a strength a task, relative, and by content."""

import numpy as np
import pytest
import torch

from mechlab.errors import MechlabError
from mechlab.train.view import View
from reproductions.moleflow.content_place import ContentPlacing, Prototypes
from reproductions.moleflow.placing import TaskStrength
from reproductions.moleflow.position import sine_embedding, turned_embedding
from reproductions.moleflow.relative_place import RelativePlacing
from reproductions.moleflow.system import MoLEFlow

DIM, SIDE = 8, 5
PLAIN = {"mixer": "none", "subnet": "plain", "adapter": "none", "blocks": 2, "lora_rank": 2, "dia_blocks": 1}


@pytest.fixture
def x(rng) -> torch.Tensor:
    return torch.from_numpy(rng.normal(size=(3, SIDE, SIDE, DIM)).astype(np.float32))


def system_of(parts: dict) -> MoLEFlow:
    system = MoLEFlow.create(PLAIN | parts, dim=DIM, grid=(SIDE, SIDE), seed=0)
    system.add_task(0)
    return system


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_the_embedding_turns_as_pixels_do(quarters):
    angles = torch.tensor([90.0 * quarters])
    plain = sine_embedding((SIDE, SIDE), dim=DIM)
    turned = turned_embedding((SIDE, SIDE), angles, dim=DIM)[0]
    torch.testing.assert_close(turned, torch.rot90(plain, quarters, (0, 1)), rtol=0, atol=1e-6)


def test_the_embedding_turns_by_any_angle_about_the_middle():
    turned = turned_embedding((SIDE, SIDE), torch.tensor([30.0, 77.0, -140.0]), dim=DIM)
    plain = sine_embedding((SIDE, SIDE), dim=DIM)
    for each in turned:
        torch.testing.assert_close(each[2, 2], plain[2, 2], rtol=0, atol=1e-6)
        assert not torch.allclose(each, plain, atol=0.1)


@pytest.mark.parametrize("position", ["sine", "condition", "tape"])
def test_turning_image_and_grid_together_commutes_with_scoring(position, x):
    system = system_of({"position": position, "rotation": 180.0, "position_turns": True})
    for quarters in range(4):
        view = View(angles=torch.full((3,), 90.0 * quarters))
        here, there = (
            system(value, task=0, view=seen).log_det
            - 0.5 * system(value, task=0, view=seen).latent.square().sum(-1)
            for value, seen in ((x, None), (torch.rot90(x, quarters, (1, 2)), view))
        )
        torch.testing.assert_close(there, torch.rot90(here, quarters, (1, 2)), rtol=1e-4, atol=1e-4)


def test_a_fixed_embedding_does_not_commute(x):
    system = system_of({"position": "sine"})
    here, there = (system.patch_scores(value, task=0) for value in (x, torch.rot90(x, 1, (1, 2))))
    assert not torch.allclose(there, torch.rot90(here, 1, (1, 2)), atol=1e-2)


def test_an_image_that_was_not_turned_has_the_embedding_of_the_grid(x):
    turning, fixed = (
        system_of({"position": "sine"} | extra) for extra in ({"rotation": 90.0, "position_turns": True}, {})
    )
    view = View(angles=torch.zeros(3))
    assert torch.equal(turning.adapt(x, task=0, view=view), fixed.adapt(x, task=0))
    assert torch.equal(turning.adapt(x, task=0), fixed.adapt(x, task=0))


def test_a_task_takes_its_own_share_of_the_embedding(x):
    placing, place = TaskStrength(initial=0.0), sine_embedding((SIDE, SIDE), dim=DIM)
    placing.add_task(0)
    placing.add_task(1)
    torch.testing.assert_close(placing(x, place, task=0), x + 0.5 * place)
    with torch.no_grad():
        placing.place_level["1"].fill_(20.0)
    torch.testing.assert_close(placing(x, place, task=1), x + place)
    assert placing.strength(0).item() == 0.5
    (grown,) = torch.autograd.grad(placing(x, place, task=0).sum(), placing.place_level["0"])
    torch.testing.assert_close(grown, 0.25 * len(x) * place.sum()[None], rtol=1e-4, atol=1e-4)


def test_the_strength_is_an_optimiser_group_at_a_hundred_times_the_rate():
    stage = system_of({"position": "tape", "learning_rate": 1e-4}).stage(0)
    rates = {name: group.learning_rate for group in stage.groups for name in group.parameters}
    assert rates.pop("position.place_level.0") == pytest.approx(1e-2)
    assert set(rates.values()) == {1e-4}
    assert [group.weight_decay for group in stage.groups] == [0.01, 0.0]


def test_relative_places_shift_with_the_patches(x):
    placing = RelativePlacing((SIDE, SIDE), DIM, distance=1, seed=0)
    with torch.no_grad():
        placing.offsets.copy_(torch.randn(3, 3))
    shifted = torch.roll(x, (1, 1), (1, 2))
    one, two = placing.attended(x), placing.attended(shifted)
    # inside: places whose whole window has come along
    torch.testing.assert_close(two[:, 2:4, 2:4], one[:, 1:3, 1:3], rtol=1e-5, atol=1e-5)
    flipped = placing.attended(x.flip(1))
    assert not torch.allclose(
        flipped[:, 1:4, 1:4], one.flip(1)[:, 1:4, 1:4], atol=1e-3
    )  # offsets have a direction


def test_the_gate_of_relative_places_leads_to_the_absolute_ones(x):
    placing, place = (
        RelativePlacing((SIDE, SIDE), DIM, distance=7, seed=0),
        sine_embedding((SIDE, SIDE), dim=DIM),
    )
    with torch.no_grad():
        placing.level.fill_(50.0)
        torch.testing.assert_close(placing(x, place, task=0), x + place, rtol=0, atol=1e-6)
        placing.level.fill_(-50.0)
        torch.testing.assert_close(placing(x, place, task=0), x + placing.attended(x), rtol=0, atol=1e-6)


def test_a_window_is_as_wide_as_its_distance(x):
    placing = RelativePlacing((SIDE, SIDE), DIM, distance=1, seed=0)
    touched = x.clone()
    touched[:, 0, 0] += 1
    moved = (placing.attended(touched) - placing.attended(x)).abs().amax(dim=(0, 3)) > 0
    expected = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    expected[:2, :2] = True
    assert torch.equal(moved, expected)


def test_content_places_follow_the_patch_and_not_the_grid(x):
    place = sine_embedding((SIDE, SIDE), dim=DIM)
    placing = ContentPlacing(place, count=4, share=0.0)
    placing.add_task(0)
    placing.fit(0, x.numpy())
    mixed = x.flatten(1, 2)[:, torch.randperm(SIDE * SIDE, generator=torch.Generator().manual_seed(0))]
    one, two = (placing(value.view(x.shape), place, task=0) for value in (x, mixed))
    for a, b in zip(one.flatten(1, 2), two.flatten(1, 2), strict=True):
        torch.testing.assert_close(a[a[:, 0].argsort()], b[b[:, 0].argsort()])


def test_a_prototype_holds_the_place_where_its_patches_stood():
    place = sine_embedding((2, 2), dim=4)
    features = np.zeros((6, 2, 2, 4), dtype=np.float32)
    features[:, 0, 1] = 100.0  # one kind of patch, always at the same place
    known = Prototypes(2, 4)
    known.fit(features, place.numpy())
    found = known(torch.from_numpy(features[:1]))
    torch.testing.assert_close(found[0, 0, 1], place[0, 1])
    torch.testing.assert_close(found[0, 0, 0], (place[0, 0] + place[1, 0] + place[1, 1]) / 3)


def test_more_prototypes_than_patches_are_refused():
    with pytest.raises(MechlabError, match="give no 3 content_prototypes"):
        Prototypes(3, 4).fit(np.ones((2, 2, 2, 4), dtype=np.float32), np.zeros((2, 2, 4), dtype=np.float32))


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"position": "none", "rotation": 90.0, "position_turns": True}, "set position=sine or condition"),
        ({"position": "none", "scorer": "dual"}, "position=none adds none to the features"),
        ({"position": "condition", "scorer": "dual-guided"}, "position=condition adds none"),
        ({"rotation": 181.0}, "rotation"),
        ({"consistency": "local", "consistency_kernel": 4}, "consistency_kernel"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(parts, sentence):
    with pytest.raises(MechlabError, match=sentence):
        system_of(parts)


def test_consistency_needs_neighbours():
    with pytest.raises(MechlabError, match="a 1x1 grid has none"):
        MoLEFlow.create(PLAIN | {"consistency": "local"}, dim=DIM, grid=(1, 1), seed=0)
