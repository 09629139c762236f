"""The benchmarks of the flow and of training: three forms of one map; what is read is what was told."""

import json

import pytest
import torch

from benchmarks.flow import FORMS, cost, flow, step
from benchmarks.training import told
from benchmarks.training_run import Stopwatch


def test_the_three_forms_are_one_map_on_equal_weights():
    features = torch.randn(1, 28, 28, 8, generator=torch.Generator().manual_seed(0))
    for task in (0, 1):
        systems = {form: flow(form, dim=8, blocks=2, rank=3, task=task) for form in FORMS}
        losses = {form: step(system, features, task=task) for form, system in systems.items()}
        assert losses["apart"] == pytest.approx(losses["freia"], rel=1e-5)
        assert losses["fused"] == pytest.approx(losses["freia"], rel=1e-5)
    plain = flow("apart", dim=8, blocks=1, rank=3, task=0)
    assert step(plain, features, task=0) != pytest.approx(losses["apart"], rel=1e-3)  # the check can fail


def test_each_size_is_measured_by_task_and_form_and_its_losses_compared():
    found = list(cost("tiny", dim=8, blocks=1, images=1, target=0.5, pairs=2, rank=3))
    names = [one.name for one in found]
    assert names == ["flow-tiny", "flow-tiny-apart", "flow-tiny-later", "flow-tiny-apart-later",
                     "flow-tiny-loss"]  # fmt: skip
    assert [one.target for one in found] == [0.5, 1.0, 1.0, 1.0, 1e-4]
    assert found[-1].value < 1e-5
    assert all(one.value > 0 for one in found[:-1])


def test_an_epoch_is_the_time_from_the_end_of_the_one_before_it_in_its_task(monkeypatch):
    watch = Stopwatch()
    clock = iter([10.0, 12.0, 15.0, 30.0, 34.0])
    monkeypatch.setattr("benchmarks.training_run.perf_counter", lambda: next(clock))
    for task, epoch in ((0, 1), (0, 2), (0, 3), (1, 1), (1, 2)):
        watch.report("resuming")
        watch.extraction += 1.0 if epoch == 1 else 0.0
        watch.report(f"  task {task} epoch {epoch}/3: loss 1.0 nats a patch")
    assert watch.epochs() == [
        {"task": 0, "seconds": 2.0, "extraction": 0.0},
        {"task": 0, "seconds": 3.0, "extraction": 0.0},
        {"task": 1, "seconds": 4.0, "extraction": 0.0},
    ]


def test_what_is_told_of_a_training_is_an_epoch_an_image_and_the_process():
    epochs = [{"task": 0, "seconds": 4.0, "extraction": 0.0}, {"task": 1, "seconds": 3.0, "extraction": 0.5}]
    found = {"epochs": epochs, "images": [200, 300], "memory": 900.0}
    rows = {one.name: one for one in told(found, is_bottle=True)}
    assert rows["training-epoch"].value == 4.0 and rows["training-epoch"].holds
    assert rows["training-image"].value == pytest.approx(20.0)
    assert rows["training-image-later"].value == pytest.approx(10.0)
    assert not rows["training-features-again"].holds
    assert rows["training-memory"].holds
    assert "training-epoch" not in {one.name for one in told(found, is_bottle=False)}
    assert json.dumps([one.document() for one in rows.values()])
