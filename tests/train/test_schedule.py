"""The schedule of the public code: rates by epoch, a warm-up after the first task, full batches alone."""

import numpy as np
import pytest
import torch

from mechlab.train.adamp import AdamP
from mechlab.train.phases import batches, turn
from mechlab.train.scopes import optimizer
from mechlab.train.stage import ParameterGroup, Stage
from reproductions.moleflow.config import MoLEFlowConfig
from reproductions.moleflow.presets import PRESETS
from reproductions.moleflow.system import MoLEFlow


def stage(**changed):
    return Stage(scopes={}, groups=(), epochs=10, batch_size=4, is_by_epoch=True, **changed)


def rates(chosen, *, steps=3):
    return [[turn(chosen, epoch).rate(chosen, index=step, steps=steps) for step in range(steps)]
            for epoch in range(10)]  # fmt: skip


def test_the_rate_stays_within_an_epoch_and_follows_the_cosine_between():
    found = np.array(rates(stage()))
    assert (found == found[:, :1]).all()
    expected = 0.01 + 0.99 * (1 + np.cos(np.pi * np.arange(10) / 10)) / 2
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-12)


def test_two_epochs_of_warm_up_give_half_and_whole_and_then_the_cosine_from_its_start():
    found = np.array(rates(stage(warmup_epochs=2)))[:, 0]
    plain = np.array(rates(stage()))[:, 0]
    assert found[:3].tolist() == [0.5, 1.0, 1.0]
    np.testing.assert_allclose(found[2:], plain[:8], rtol=1e-12)


@pytest.mark.parametrize(("count", "sizes"), [(10, [4, 4]), (8, [4, 4]), (3, [3])], ids=str)
def test_a_smaller_last_batch_is_dropped_unless_it_is_all(count, sizes):
    words = {"size": 4, "seed": 0, "task": 0, "epoch": 0}
    found = batches(count, **words, drops_last=True)
    assert [len(batch) for batch in found] == sizes
    for one, other in zip(found, batches(count, **words), strict=False):
        assert one.tolist() == other.tolist()


def test_published_trains_as_the_code_does_and_main_does_not():
    by_name = {preset.name: preset for preset in PRESETS}
    tiny = {"blocks": 1, "lora_rank": 2, "dia_blocks": 1, "coupling": "functional"}
    found = {}
    for name in ("main", "published"):
        system = MoLEFlow.create(dict(by_name[name].parts) | tiny, dim=8, grid=(4, 4), seed=0)
        system.add_task(0)
        system.add_task(1)
        found[name] = [system.stage(task) for task in range(2)]
        is_adamp = isinstance(optimizer(system, found[name][0]), AdamP)
        assert is_adamp == (name == "published")
    assert [one.warmup_epochs for one in found["published"]] == [0, 2]
    assert [one.warmup_epochs for one in found["main"]] == [0, 0]
    assert all(one.is_by_epoch and one.drops_last for one in found["published"])
    assert not any(one.is_by_epoch or one.drops_last for one in found["main"])


def test_later_tasks_warm_up_as_the_first_unless_they_have_their_own():
    config = MoLEFlowConfig(warmup_epochs=3)
    assert config.later_warmup_epochs is None
    system = MoLEFlow.create(
        {"warmup_epochs": 3, "blocks": 1, "lora_rank": 2, "dia_blocks": 0}, dim=8, grid=(4, 4), seed=0
    )
    system.add_task(0)
    system.add_task(1)
    assert [system.stage(task).warmup_epochs for task in range(2)] == [3, 3]


def test_a_rate_is_constant_or_falls_once_as_the_stage_says():
    words = {"scopes": {}, "groups": (), "epochs": 10, "batch_size": 4}
    for decay, expected in (("constant", [1.0] * 10), ("step", [1.0] * 7 + [0.1] * 3)):
        chosen = Stage(**words, decay=decay, step_at=0.75, final_learning_rate=0.1)
        assert [row[0] for row in rates(chosen)] == expected
        assert all(len(set(row)) == 1 for row in rates(chosen))
    with pytest.raises(ValueError, match="a step learning rate has no warm-up"):
        Stage(**words, decay="step", warmup_epochs=1)
    with pytest.raises(ValueError, match="adamp has betas of its own"):
        Stage(**words, optimizer="adamp", betas=(0.5, 0.999))


def test_without_weight_decay_the_optimiser_is_adam_with_the_stages_betas():
    module, other = (torch.nn.Linear(3, 2) for _ in range(2))
    other.load_state_dict(module.state_dict())
    group = ParameterGroup(parameters=("weight", "bias"), learning_rate=0.05)
    stage = Stage(scopes={}, groups=(group,), epochs=1, batch_size=4, betas=(0.5, 0.9))
    ours, adam = optimizer(module, stage), torch.optim.Adam(other.parameters(), lr=0.05, betas=(0.5, 0.9))
    inputs = torch.linspace(-1, 1, 12).view(4, 3)
    for step in range(4):
        for model, held in ((module, ours), (other, adam)):
            held.zero_grad()
            (model(inputs) * (step + 1)).square().sum().backward()
            held.step()
    assert torch.equal(module.weight, other.weight) and torch.equal(module.bias, other.bias)
