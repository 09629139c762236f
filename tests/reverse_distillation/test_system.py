"""Reverse distillation as a system: what trains, tasks apart or together, planted defects, bad input."""

import pytest
import torch

from mechlab.errors import MechlabError
from mechlab.runs.settings import EvaluationSettings, unused
from mechlab.systems import catalog, layout, load
from mechlab.train import scopes
from mechlab.train.phases import turn
from mechlab.train.stage import Trainable
from reproductions.reverse_distillation.catalog import CONFIG, NEEDS, PARTS, PRESETS, SYSTEM
from reproductions.reverse_distillation.config import ReverseDistillationConfig
from reproductions.reverse_distillation.sites import sites
from reproductions.reverse_distillation.system import ReverseDistillation


def made(pyramid, *, tasks=1, seed=3, **parts):
    system = ReverseDistillation.create(parts, pyramid=pyramid, seed=seed)
    for task in range(tasks):
        system.add_task(task)
    return system


def trained(system, cells, *, task=0, steps=30):
    """Let the task's student learn some images by heart."""
    stage, batch = system.stage(task), torch.from_numpy(cells)
    scopes.apply(system, stage)
    optimizer = scopes.optimizer(system, stage)
    system.train()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = system.loss(batch, task=task).total
        loss.backward()
        optimizer.step()
    system.finish_task(task, cells)
    return float(loss.detach())


def test_it_is_found_by_name_and_every_target_exists(pyramid):
    assert catalog("rd").SYSTEM is SYSTEM and layout("rd") == "pyramid" and layout("moleflow") == "patches"
    assert load(SYSTEM.target) is ReverseDistillation and load(CONFIG) is ReverseDistillationConfig
    assert all(callable(load(part.target)) and part.system == "rd" for part in PARTS)
    assert isinstance(made(pyramid), Trainable)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_presets_are_valid_and_none_of_their_keys_is_idle(preset, pyramid):
    config = ReverseDistillationConfig(**preset.parts)
    assert not unused(preset.parts, parts=config.model_dump(), needs=NEEDS)
    assert EvaluationSettings(**preset.evaluation).image_from == "map"
    made(pyramid, tasks=2, **preset.parts)


def test_the_defaults_are_the_published_recipe(pyramid):
    stage = made(pyramid).stage(0)
    assert (stage.epochs, stage.batch_size, stage.clip_norm) == (200, 16, None)
    group = scopes.optimizer(made(pyramid), stage).param_groups[0]
    assert (group["lr"], group["betas"], group["weight_decay"]) == (5e-3, (0.5, 0.999), 0.0)
    assert {turn(stage, epoch).rate(stage, index=3, steps=7) for epoch in range(200)} == {1.0}


def test_many_classes_have_a_rate_that_falls_at_four_fifths(pyramid):
    parts = next(preset for preset in PRESETS if preset.name == "rd-multiclass").parts
    stage = made(pyramid, **parts).stage(0)
    rates = [turn(stage, epoch).rate(stage, index=0, steps=1) for epoch in range(100)]
    assert rates == [1.0] * 80 + [0.1] * 20


@pytest.mark.parametrize("loss", ["flat", "pixel"])
def test_it_learns_and_the_loss_is_the_sum_of_its_levels(pyramid, cells, loss):
    system = made(pyramid, loss=loss, learning_rate=0.02)
    before = system.loss(torch.from_numpy(cells), task=0)
    assert set(before.terms) == {"layer1", "layer2", "layer3"}
    assert float(before.total.detach()) == pytest.approx(
        sum(float(term.detach()) for term in before.terms.values())
    )
    assert trained(system, cells, steps=60) < 0.5 * float(before.total.detach())


def test_only_the_tasks_own_student_trains_and_all_of_it(pyramid, cells):
    system = made(pyramid, tasks=2)
    before = scopes.parameter_hashes(system)
    trained(system, cells, task=1, steps=2)
    after = scopes.parameter_hashes(system)
    moved = {name for name in after if before[name] != after[name]}
    assert moved == {name for name in after if name.startswith("pupil.1.")}
    assert not list(system.teacher.parameters()) and not list(system.teacher.buffers())


def test_no_gradient_reaches_the_teachers_maps(pyramid, cells):
    system = made(pyramid)
    batch = torch.from_numpy(cells)
    system.loss(batch, task=0).total.backward()
    assert batch.grad is None and not batch.requires_grad


@pytest.mark.parametrize(("student", "is_same"), [("per-task", True), ("shared", False)])
def test_a_later_task_changes_earlier_scores_where_the_student_goes_on_alone(
    pyramid, cells, student, is_same
):
    system = made(pyramid, student=student)
    trained(system, cells, steps=3)
    batch = torch.from_numpy(cells)
    before = system.eval().patch_scores(batch, task=0)
    system.add_task(1)
    trained(system, 2 * cells + 1, task=1, steps=3)
    after = system.eval().patch_scores(batch, task=0)
    assert torch.equal(before, after) is is_same
    assert torch.equal(after, system.patch_scores(batch, task=1)) is not is_same
    assert len(system.pupil) == (2 if is_same else 1)


def test_routing_tells_tasks_apart_by_the_means_of_channels(pyramid, cells):
    system = made(pyramid, tasks=2)
    system.finish_task(0, cells)
    system.finish_task(1, cells + 1)
    both = torch.from_numpy(cells[:2])
    distances = system.task_distances(torch.cat([both, both + 1]), router="euclidean")
    assert distances.argmin(dim=1).tolist() == [0, 0, 1, 1]
    gap = distances[2:, 0] ** 2 - distances[2:, 1] ** 2  # |d + 1|^2 - |d|^2
    channels = sum(level.channels for level in pyramid.levels)
    torch.testing.assert_close(gap, channels + 2 * above_mean(pyramid, cells, both), rtol=1e-5, atol=1e-5)


def above_mean(pyramid, cells, both):
    """The sum over channels of how far two images lie above the mean of all."""
    own = pyramid.channel_means(both.double().mean(dim=(1, 2)))
    return (own - pyramid.channel_means(torch.from_numpy(cells).double().mean(dim=(0, 1, 2))[None])).sum(
        dim=1
    )


def test_a_planted_defect_is_found_and_normals_have_none(pyramid, cells):
    system = made(pyramid, learning_rate=0.02)
    trained(system, cells, steps=60)
    batch = torch.from_numpy(cells.copy())
    normal = system.eval().patch_scores(batch, task=0)
    maps = pyramid.unpacked(batch)
    maps[0][2, :, 4:8, 4:8] *= -1  # one cell of one image, of 16 x 16 places
    damaged = system.patch_scores(pyramid.packed(maps), task=0)
    assert damaged.amax(dim=(1, 2)).argmax() == 2
    place = int(damaged[2].argmax())
    assert 16 <= place // 64 < 33 and 16 <= place % 64 < 33
    assert damaged[2].max() > 1.5 * normal.max()
    others = [0, 1, 3, 4, 5]
    assert torch.allclose(damaged[others], normal[others])


def test_a_checkpoint_restores_scores_and_running_statistics(pyramid, cells):
    system = made(pyramid, tasks=2)
    for task in (0, 1):
        trained(system, cells + task, task=task, steps=2)
    fresh = made(pyramid, tasks=2, seed=8)
    fresh.load_state_dict(system.state_dict())
    batch = torch.from_numpy(cells)
    for task in (0, 1):
        one, two = (model.eval().patch_scores(batch, task=task) for model in (system, fresh))
        assert torch.equal(one, two)
    assert torch.equal(
        fresh.task_distances(batch, router="euclidean"), system.task_distances(batch, router="euclidean")
    )


def test_places_are_named_and_hold_what_they_say(pyramid, cells):
    system = made(pyramid, tasks=2)
    places = {site.name: site for site in sites(system)}
    assert len(places) == 3 + 2 * 4
    modules, seen = dict(system.named_modules()), {}
    for site in places.values():
        modules[site.module].register_forward_hook(
            lambda _module, _inputs, output, name=site.name: seen.update({name: output})
        )
    system.eval().patch_scores(torch.from_numpy(cells), task=1)
    assert set(seen) == {name for name in places if ".0" not in name}
    for level, wanted in zip(
        ("layer1", "layer2", "layer3"), pyramid.unpacked(torch.from_numpy(cells)), strict=True
    ):
        assert torch.equal(seen[f"teacher.{level}"], wanted)
        assert seen[f"student.1.{level}"].shape == wanted.shape
    assert seen["bottleneck.1"].shape == (6, 24, 2, 2)


def test_bad_words_are_refused(pyramid, cells):
    system = made(pyramid)
    batch = torch.from_numpy(cells)
    with pytest.raises(MechlabError, match="no router of rd named 'mahalanobis'"):
        system.task_distances(batch, router="mahalanobis")
    with pytest.raises(ValueError, match="no distances"):
        system.task_distances(batch, router="oracle")
    with pytest.raises(ValueError, match="no task 2"):
        system.patch_scores(batch, task=2)
    with pytest.raises(ValueError, match="task 0 exists"):
        system.add_task(0)
    with pytest.raises(MechlabError, match="Did you mean 'loss'"):
        made(pyramid, los="flat")
