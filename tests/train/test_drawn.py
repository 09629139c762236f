"""Images drawn anew each epoch: a function of seed, task, epoch and image, seen by the training alone."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from mechlab.errors import MechlabError
from mechlab.train import tasks
from mechlab.train.drawn import DrawnBatches, on_grid
from mechlab.train.session import resolve, train
from mechlab.train.view import Drawing

TURNING = {"position": "none", "adapter_by_place": False, "rotation": 90.0}
DAMAGED = {"margin_weight": 1.0}


@pytest.fixture
def inputs(small_request):
    return resolve(small_request).inputs


def drawn(inputs, *, seed=0, task=0, **drawing) -> DrawnBatches:
    return DrawnBatches(inputs, inputs.fitting(task), task=task, seed=seed, drawing=Drawing(**drawing))


def batch(batches, items, epoch=0):
    return batches.batch(np.array(items), epoch=epoch, device=torch.device("cpu"))


def test_angles_are_drawn_anew_each_epoch_image_seed_and_task(inputs):
    angles = {
        round(batch(drawn(inputs, rotation=90.0, seed=seed, task=task), [item], epoch)[1].angles.item(), 5)
        for seed in (0, 1) for task in (0, 1) for item in (0, 1) for epoch in (0, 1)
    }  # fmt: skip
    assert len(angles) == 16
    assert all(abs(angle) <= 90 for angle in angles)


def test_a_draw_does_not_depend_on_the_batch_it_stands_in(inputs):
    batches = drawn(inputs, rotation=180.0, damage="cutpaste")
    together, alone = (
        batch(batches, [0, 3, 5], epoch=2),
        batch(drawn(inputs, rotation=180.0, damage="cutpaste"), [3], 2),
    )
    assert torch.equal(together[0][1:2], alone[0])
    assert torch.equal(together[1].angles[1:2], alone[1].angles)
    assert torch.equal(together[1].damaged[1:2], alone[1].damaged)
    assert torch.equal(together[1].mask[1:2], alone[1].mask)


def test_angles_cover_both_sides_evenly_and_are_0_without_rotation(inputs):
    turning, still = drawn(inputs, rotation=90.0), drawn(inputs, damage="jitter")
    turning._extracted = lambda images: turning.features[: len(images)]  # the angles alone are wanted
    found = [
        torch.cat([batch(one, range(10), epoch)[1].angles for epoch in range(20)]) for one in (turning, still)
    ]
    assert abs(float(found[0].mean())) < 3 * 90 / np.sqrt(3 * len(found[0]))
    assert float(found[0].min()) < -70 < 70 < float(found[0].max())
    assert not found[1].any()


def test_an_image_that_is_not_turned_has_its_cached_features(inputs):
    features = inputs.fitting(0)
    still, view = batch(drawn(inputs, damage="cutpaste"), [0, 1])
    assert torch.equal(still, torch.from_numpy(features[:2]))
    assert view.damaged is not None
    turned, _ = batch(drawn(inputs, rotation=180.0), [0, 1])
    assert not torch.allclose(turned, still, atol=0.1)


def test_damage_touches_the_patches_of_its_mask(inputs):
    values, view = batch(drawn(inputs, damage="jitter", jitter=2.0), [0, 1, 2])
    moved = (view.damaged != values).any(dim=-1)
    assert torch.equal(moved, view.mask)
    deviation = inputs.fitting(0).std(axis=(0, 1, 2))
    away = ((view.damaged - values)[view.mask] / torch.from_numpy(deviation)).std()
    assert float(away) == pytest.approx(2.0, rel=0.3)


def test_a_patch_is_damaged_if_one_of_its_pixels_is():
    mask = np.zeros((8, 8), dtype=bool)
    mask[3, 4] = True
    expected = torch.zeros(4, 4, dtype=torch.bool)
    expected[1, 2] = True
    assert torch.equal(on_grid(mask, (4, 4)), expected)


def test_a_share_without_images_is_empty(inputs):
    values, view = batch(drawn(inputs, rotation=90.0, damage="cutpaste"), np.array([], dtype=np.int64))
    assert values.shape[0] == view.damaged.shape[0] == view.mask.shape[0] == len(view.angles) == 0


@pytest.mark.parametrize("parts", [TURNING, DAMAGED], ids=["rotation", "margin"])
def test_a_run_that_is_stopped_draws_on_as_if_it_had_not_been(small_request, tmp_path, monkeypatch, parts):
    monkeypatch.setattr(tasks, "EVERY_SECONDS", 0.0)
    request = replace(small_request, settings=small_request.settings | parts)
    whole = train(replace(request, out=tmp_path / "whole"))
    after = tasks.Log.after

    def stop(self, step):
        if step.step == 3:
            raise KeyboardInterrupt
        after(self, step)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tasks.Log, "after", stop)
        train(replace(request, out=tmp_path / "broken"))
    again = train(replace(request, out=tmp_path / "broken"))
    assert again["trajectory"] == whole["trajectory"]
    assert json.dumps(again["metrics"]) == json.dumps(whole["metrics"])


def test_turned_images_are_not_kept_in_the_cache(small_request, small_summary, tmp_path):
    before = sorted(path.name for path in small_request.cache.rglob("*"))
    train(replace(small_request, settings=small_request.settings | TURNING, out=tmp_path))
    assert sorted(path.name for path in small_request.cache.rglob("*")) == before


def test_evaluation_never_sees_a_pseudo_anomaly(small_request, tmp_path, monkeypatch):
    request = replace(small_request, settings=small_request.settings | DAMAGED, out=tmp_path)
    train(request)

    def refuse(*_, **__):
        raise AssertionError("an evaluation draws")

    monkeypatch.setattr(DrawnBatches, "batch", refuse)
    from mechlab.runs.folder import runs
    from mechlab.train.session import reevaluate

    (run,) = runs(tmp_path)
    assert reevaluate(run, settings={"router": "oracle"})["metrics"]


def test_a_margin_that_nothing_reads_is_refused(small_request):
    with pytest.raises(MechlabError, match="nothing reads it while margin_weight"):
        resolve(replace(small_request, settings={"margin": 2.0}))
