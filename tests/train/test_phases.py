"""Phases of a stage: their own groups move, on the images they visit, each with a schedule of its own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from mechlab.train import checkpoint, scopes
from mechlab.train.checkpoint import Position
from mechlab.train.loop import Progress, run_task
from mechlab.train.phases import batches, held, turn
from mechlab.train.stage import Loss, ParameterGroup, Phase, Stage


class Two(nn.Module):
    """Two weights: the first moves in two epochs, the second in three more, on most of the images."""

    def __init__(self):
        super().__init__()
        self.first = nn.Parameter(torch.zeros(4))
        self.second = nn.Parameter(torch.zeros(4))
        self.seen = []

    def stage(self, task):
        groups = (ParameterGroup(parameters=("first",), learning_rate=0.1),
                  ParameterGroup(parameters=("second",), learning_rate=0.01, phase=1))  # fmt: skip
        return Stage(
            scopes={"first": "per-task", "second": "shared"},
            groups=groups,
            epochs=5,
            batch_size=4,
            phases=(Phase(epochs=2), Phase(epochs=3, held_out=0.3)),
        )

    def loss_at(self, batch, *, task, moment):
        self.seen.append((moment, len(batch)))
        return Loss(total=((batch - self.first - self.second) ** 2).mean())

    def loss(self, batch, *, task):
        raise AssertionError("a system with a clock is asked for the loss at a moment")

    def add_task(self, task):
        """Nothing is a task's own."""

    prepare = finish_task = patch_scores = task_distances = add_task


def trained(system, features, *, start=None, optimizer=None, after_epoch=lambda _: None):
    stage = system.stage(0)
    scopes.apply(system, stage)
    optimizer = optimizer or scopes.optimizer(system, stage)
    end = run_task(
        system,
        features,
        task=0,
        seed=0,
        stage=stage,
        optimizer=optimizer,
        device=torch.device("cpu"),
        start=start or Progress(),
        observers=(),
        after_epoch=after_epoch,
    )
    return end, optimizer


def test_each_group_moves_in_its_own_phase_alone(features):
    system, kept = Two(), []

    def look(progress):
        kept.append((system.first.detach().clone(), system.second.detach().clone()))

    trained(system, features, after_epoch=look)
    assert not kept[0][0].equal(kept[1][0])
    assert not kept[1][1].any()
    assert all(first.equal(kept[1][0]) for first, _ in kept[1:])
    assert not kept[2][1].equal(kept[3][1])


def test_a_phase_does_not_visit_what_it_holds_out_and_tells_its_loss(features):
    system, told = Two(), []
    trained(system, features, after_epoch=told.append)
    away = set(held(10, fraction=0.3, seed=0, task=0).tolist())
    assert len(away) == 3
    trained_on = [moment for moment, size in system.seen if size == len(moment.items)]
    visited = {
        phase: [set(moment.items.tolist()) for moment in trained_on if moment.phase == phase]
        for phase in (0, 1)
    }
    assert set().union(*visited[0]) == set(range(10))
    assert [items for items in visited[1] if items & away] == [away] * 3  # once an epoch, to be told
    assert [progress.held_out_loss is None for progress in told] == [True, True, False, False, False]
    with torch.no_grad():
        left = ((torch.from_numpy(features[sorted(away)]) - system.first - system.second) ** 2).mean()
    assert told[-1].held_out_loss == pytest.approx(float(left))


def test_the_rate_begins_anew_in_each_phase():
    stage = replace(Two().stage(0), warmup_epochs=1, final_learning_rate=0.0)
    rates = [turn(stage, epoch).rate(stage, index=index, steps=2) for epoch in range(5) for index in range(2)]
    assert rates[:2] == [0.5, 1.0]  # warm-up, in the first phase alone
    assert rates[3] == pytest.approx(0.0, abs=1e-12)
    assert rates[4] == pytest.approx(1.0)
    assert rates[9] == pytest.approx(0.0, abs=1e-12)


def test_what_is_held_out_is_the_same_in_every_epoch_and_another_in_another_task():
    assert (
        held(100, fraction=0.15, seed=3, task=1).tolist() == held(100, fraction=0.15, seed=3, task=1).tolist()
    )
    assert (
        held(100, fraction=0.15, seed=3, task=1).tolist() != held(100, fraction=0.15, seed=3, task=2).tolist()
    )
    assert len(held(100, fraction=0.15, seed=3, task=1)) == 15
    assert len(held(1, fraction=0.9, seed=0, task=0)) == 0  # something is left to train on
    for epoch in range(3):
        visited = np.concatenate(batches(20, size=6, seed=0, task=0, epoch=epoch, held_out=0.25))
        assert sorted([*visited.tolist(), *held(20, fraction=0.25, seed=0, task=0).tolist()]) == list(
            range(20)
        )


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_loop_resumed_in_any_phase_ends_bit_identical(at, features, tmp_path):
    whole = Two()
    end, _ = trained(whole, features)
    part, kept = Two(), []

    def stop(progress):
        if progress.epoch == at:
            position = Position(task=0, epoch=at, step=progress.step, losses=progress.losses)
            checkpoint.save(tmp_path / "c", part, position=position, optimizer=kept[0])
            raise KeyboardInterrupt

    stage = part.stage(0)
    scopes.apply(part, stage)
    kept.append(scopes.optimizer(part, stage))
    with pytest.raises(KeyboardInterrupt):
        trained(part, features, optimizer=kept[0], after_epoch=stop)
    resumed = Two()
    scopes.apply(resumed, resumed.stage(0))
    optimizer = scopes.optimizer(resumed, resumed.stage(0))
    checkpoint.load_weights(tmp_path / "c", resumed)
    checkpoint.load_state(tmp_path / "c", optimizer)
    found = checkpoint.position(tmp_path / "c")
    again, _ = trained(
        resumed, features, start=Progress(epoch=found.epoch, step=found.step, losses=found.losses),
        optimizer=optimizer,
    )  # fmt: skip
    assert again.losses == end.losses
    assert torch.equal(resumed.first, whole.first) and torch.equal(resumed.second, whole.second)


def test_phases_that_do_not_add_up_are_refused():
    with pytest.raises(ValueError, match=r"phases of \[2, 3\] epochs in 6"):
        replace(Two().stage(0), epochs=6)
    with pytest.raises(ValueError, match="epoch 5 of a stage with 5"):
        turn(Two().stage(0), 5)
