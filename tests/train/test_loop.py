"""The loop visits every image once an epoch, repeats bit for bit, and stops where a loss is not finite."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from mechlab.errors import MechlabError
from mechlab.train import checkpoint, loop, scopes
from mechlab.train.checkpoint import Position
from mechlab.train.determinism import order
from mechlab.train.loop import Progress, run_task
from mechlab.train.phases import batches, turn
from mechlab.train.stage import Stage


def train(toy, features, *, start=None, observers=(), until=None, seed=0, optimizer=None, task=0):
    stage = toy.stage(task)
    scopes.apply(toy, stage)
    optimizer = optimizer or scopes.optimizer(toy, stage)
    seen = []
    end = run_task(
        toy,
        features,
        task=task,
        seed=seed,
        stage=stage,
        optimizer=optimizer,
        device=torch.device("cpu"),
        start=start or Progress(),
        observers=observers,
        after_epoch=seen.append,
    )
    return end, seen, optimizer


class Watcher:
    def __init__(self):
        self.rows, self.gradients = [], []

    def before(self, step):
        assert math.isnan(step.loss)

    def after_backward(self, step):
        self.gradients.append(step.step)

    def after(self, step):
        self.rows.append(step)


def test_every_epoch_visits_each_image_once():
    for epoch in range(3):
        visited = np.concatenate(batches(10, size=4, seed=1, task=0, epoch=epoch))
        assert sorted(visited.tolist()) == list(range(10))


def test_the_order_is_a_function_of_seed_task_and_epoch_alone():
    orders = {tuple(order(20, seed=s, task=t, epoch=e)) for s in (0, 1) for t in (0, 1) for e in (0, 1)}
    assert len(orders) == 8
    assert order(20, seed=0, task=0, epoch=0).tolist() == order(20, seed=0, task=0, epoch=0).tolist()


def test_the_rate_warms_up_and_ends_at_its_final_fraction():
    stage = Stage(scopes={}, groups=(), epochs=10, batch_size=1, warmup_epochs=2, final_learning_rate=0.1)
    rates = [
        turn(stage, epoch).rate(stage, index=index, steps=5) for epoch in range(10) for index in range(5)
    ]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.1)
    assert all(late <= early + 1e-12 for early, late in pairwise(rates[10:]))


def test_two_trainings_with_one_seed_are_bit_identical(toy, features):
    twin = type(toy)()
    for system in (toy, twin):
        system.add_task(0)
    assert train(toy, features)[0].losses == train(twin, features)[0].losses
    assert torch.equal(toy.base, twin.base)


def test_another_seed_visits_in_another_order(toy, features):
    twin = type(toy)()
    for system in (toy, twin):
        system.add_task(0)
    assert train(toy, features, seed=0)[0].losses != train(twin, features, seed=1)[0].losses


def test_a_loop_resumed_from_a_checkpoint_inside_a_task_ends_bit_identical(toy, features, tmp_path):
    whole = type(toy)(epochs=4)
    whole.add_task(0)
    end, _, _ = train(whole, features)
    part = type(toy)(epochs=4)
    part.add_task(0)
    part.epochs = 2
    stage = part.stage(0)
    scopes.apply(part, stage)
    optimizer = scopes.optimizer(part, stage)
    full = type(toy)(epochs=4)
    full.add_task(0)
    saved = []

    def after_epoch(progress):
        if progress.epoch == 2:
            position = Position(task=0, epoch=2, step=progress.step, losses=progress.losses)
            checkpoint.save(tmp_path / "c", full, position=position, optimizer=full_optimizer)
            saved.append(progress)

    scopes.apply(full, full.stage(0))
    full_optimizer = scopes.optimizer(full, full.stage(0))
    run_task(
        full,
        features,
        task=0,
        seed=0,
        stage=full.stage(0),
        optimizer=full_optimizer,
        device=torch.device("cpu"),
        start=Progress(),
        observers=(),
        after_epoch=after_epoch,
    )
    resumed = type(toy)(epochs=4)
    resumed.add_task(0)
    scopes.apply(resumed, resumed.stage(0))
    optimizer = scopes.optimizer(resumed, resumed.stage(0))
    checkpoint.load_weights(tmp_path / "c", resumed)
    checkpoint.load_state(tmp_path / "c", optimizer)
    position = checkpoint.position(tmp_path / "c")
    start = Progress(epoch=position.epoch, step=position.step, losses=position.losses)
    again, _, _ = train(resumed, features, start=start, optimizer=optimizer)
    assert again.losses == end.losses
    assert torch.equal(resumed.base, whole.base)
    assert saved


def test_observers_see_each_step_and_change_nothing(toy, features):
    twin = type(toy)()
    for system in (toy, twin):
        system.add_task(0)
    watcher = Watcher()
    watched, _, _ = train(toy, features, observers=(watcher,))
    assert watched.losses == train(twin, features)[0].losses
    assert [row.step for row in watcher.rows] == watcher.gradients == list(range(6))
    assert [row.loss for row in watcher.rows] == list(watched.losses)


def test_each_step_offers_its_free_room_before_the_backward_pass(toy, features, monkeypatch):
    told = []

    class Backwards(Watcher):
        def after_backward(self, step):
            told.append("backward")

    monkeypatch.setattr(loop.Heap, "tidy", lambda _: told.append("tidy"))
    toy.add_task(0)
    end, _, _ = train(toy, features, observers=[Backwards()])
    assert told == ["tidy", "backward"] * end.step


def test_a_loss_that_is_not_finite_stops_the_run(toy, features):
    toy.add_task(0)
    features[3] = np.nan
    with pytest.raises(MechlabError, match=r"the loss is nan at step \d \(task 0, epoch 0\)"):
        train(toy, features)


def test_frozen_parameters_keep_every_bit_and_the_fingerprint_says_so(toy, features):
    toy.add_task(0)
    train(toy, features)
    toy.add_task(1)
    before = scopes.parameter_hashes(toy)
    end, _, _ = train(toy, features, task=1)
    found = scopes.fingerprint(toy, toy.stage(1), task=1, before=before, losses=end.losses)
    found.check()
    assert found.moved == {"base": False, "shift.0": False, "shift.1": True}
    assert not toy.base.requires_grad


def test_a_trainable_parameter_that_never_moves_is_an_error(toy, features):
    toy.unused = nn.Parameter(torch.zeros(2))
    toy.add_task(0)
    honest = toy.stage(0)
    held = type(honest.groups[0])(parameters=(*honest.groups[0].parameters, "unused"), learning_rate=0.05)
    stage = Stage(scopes=honest.scopes | {"unused": "shared"}, groups=(held,), epochs=1, batch_size=4)
    scopes.apply(toy, stage)
    before = scopes.parameter_hashes(toy)
    run_task(
        toy,
        features,
        task=0,
        seed=0,
        stage=stage,
        optimizer=scopes.optimizer(toy, stage),
        device=torch.device("cpu"),
        start=Progress(),
        observers=(),
        after_epoch=lambda _: None,
    )
    found = scopes.fingerprint(toy, stage, task=0, before=before, losses=(1.0,))
    with pytest.raises(MechlabError, match=r"'unused' is trainable \(scope shared\) but never moved"):
        found.check()


def test_a_frozen_parameter_that_moves_is_an_error(toy):
    toy.add_task(0)
    toy.add_task(1)
    before = scopes.parameter_hashes(toy)
    with torch.no_grad():
        toy.base += 1
        toy.shift["1"] += 1
    found = scopes.fingerprint(toy, toy.stage(1), task=1, before=before, losses=(1.0,))
    with pytest.raises(MechlabError, match="'base' is frozen but moved"):
        found.check()


def test_a_parameter_without_a_scope_is_refused(toy):
    toy.add_task(0)
    stage = toy.stage(0)
    toy.forgotten = nn.Parameter(torch.zeros(1))
    with pytest.raises(MechlabError, match="disagree on parameter 'forgotten'"):
        scopes.apply(toy, stage)


def test_a_scope_that_its_group_contradicts_is_refused(toy):
    toy.add_task(0)
    stage = toy.stage(0)
    wrong = Stage(scopes=stage.scopes | {"base": "frozen"}, groups=stage.groups, epochs=1, batch_size=1)
    with pytest.raises(MechlabError, match="'base' has scope 'frozen', which its group contradicts"):
        scopes.apply(toy, wrong)
